"""What all trained stages share: the trainer, resumable checkpoints, the polite stop."""
