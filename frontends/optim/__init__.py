"""Optimizers, shared by all modes."""
