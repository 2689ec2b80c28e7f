"""Token ids as memory-mapped arrays."""
