"""Attention, embeddings, blocks and stacks of Transformers."""
