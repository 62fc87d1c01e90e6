"""Random generators and distributions, shared by all modes."""
