"""What several stages read and one of them writes, a folder each; text and random streams."""
