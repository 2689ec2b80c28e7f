"""What a run hands over: models with cards that others load, signed, kept together."""
