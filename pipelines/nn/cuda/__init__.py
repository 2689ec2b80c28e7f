"""What exists only because of GPUs: variable-length attention, gradients of tables."""
