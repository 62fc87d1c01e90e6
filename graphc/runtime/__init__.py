"""Executables and what they need while they run."""
