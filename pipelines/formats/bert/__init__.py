"""A BERT in the format of Hugging Face."""
