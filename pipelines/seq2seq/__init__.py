"""Sentence pairs to one model per architecture."""
