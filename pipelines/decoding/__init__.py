"""Models to hypotheses, by beam search."""
