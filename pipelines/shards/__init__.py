"""Text to memory-mapped tokens."""
