"""Every check worth making before a run, and the recipes that change params.yaml."""
