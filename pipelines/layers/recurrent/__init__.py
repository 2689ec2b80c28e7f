"""Attention of recurrent networks."""
