"""A pretrained encoder fine-tuned to classify sentences or pairs of sentences."""
