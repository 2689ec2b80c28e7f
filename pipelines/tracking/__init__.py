"""W&B runs of this checkout, sent to a server."""
