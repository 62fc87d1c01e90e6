"""The eager front end: tensors that run op by op."""
