"""What training and search know of an encoder-decoder, and how one is found, built and saved."""
