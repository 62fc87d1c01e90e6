"""The CPU backend: kernels compiled by Numba."""

from .backend import compile

__all__ = ["compile"]
