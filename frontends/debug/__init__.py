"""Looking into programs: values node by node, numbers that are not finite, levels of optimization against each other."""
