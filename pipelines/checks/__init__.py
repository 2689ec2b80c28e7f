"""What can be known before a run: the machine, the versions, the endpoints. No stage imports it."""
