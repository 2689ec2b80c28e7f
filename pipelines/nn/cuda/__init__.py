"""What exists only because of GPUs: variable-length attention, gradients of tables, and when a
number may be read.
"""
