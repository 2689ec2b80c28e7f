"""All of params.yaml: its rules, and the recipes laid over it."""
