"""Token shards to a pretrained BERT."""
