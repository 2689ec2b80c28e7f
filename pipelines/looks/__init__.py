"""What trained models do, shown at chosen sentences."""
