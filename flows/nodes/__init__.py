"""A run on several machines with one shared folder."""
