"""Cells, stacks and attention of recurrent networks."""
