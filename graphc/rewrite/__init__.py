"""Patterns and the one driver that applies them."""
