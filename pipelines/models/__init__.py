"""Networks, one file each: BERT, and every family of encoder-decoders."""
