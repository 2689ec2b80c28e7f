"""Building blocks of networks; imports no stage."""
