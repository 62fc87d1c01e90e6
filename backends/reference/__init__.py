"""The reference backend: each node evaluated with NumPy, in order. The oracle that every other backend is judged by."""

from .interpreter import Interpreter, compile

__all__ = ["Interpreter", "compile"]
