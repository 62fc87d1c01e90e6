"""Graph to graph passes, one a module, and their order."""
