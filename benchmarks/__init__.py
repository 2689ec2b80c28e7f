"""Ours against peers and budgets; never part of the test run."""
