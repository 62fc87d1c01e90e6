"""The NumPy interpreter: the oracle for every other backend."""
