"""Hypotheses to scores; imports no model."""
