"""Optimizers compared on equal terms, on functions one can draw and on small trainings."""
