"""The array functions: broadcasting, promotion and NumPy's names, written once for every mode."""
