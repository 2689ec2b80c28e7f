"""Text to subwords and back."""
