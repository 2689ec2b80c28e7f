"""Stage ``diagnosis``: why a training learns, stalls or diverges, and what to change."""
