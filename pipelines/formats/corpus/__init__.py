"""Documents, sentence pairs and splits as files."""
