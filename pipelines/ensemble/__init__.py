"""Several models to their common hypotheses."""
