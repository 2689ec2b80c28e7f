"""What models know of a tokenizer: its tokens and the special ones."""
