"""Training text to a vocabulary."""
