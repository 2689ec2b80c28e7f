"""What a training shows while it runs: speed, progress. Decides no bit of a result."""
