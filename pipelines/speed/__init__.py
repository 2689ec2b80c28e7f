"""What limits the speed of a training on this machine, measured and said in words."""
