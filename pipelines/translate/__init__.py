"""The command line over a trained model."""
