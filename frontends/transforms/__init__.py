"""Function transformations: gradients and products with Jacobians."""
