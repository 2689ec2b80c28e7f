"""Raw text to documents, sentence pairs and splits."""
