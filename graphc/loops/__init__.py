"""The kernel representation: iteration spaces, stages and scalar bodies."""
