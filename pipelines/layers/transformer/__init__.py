"""Attention, embeddings and blocks of Transformers."""
