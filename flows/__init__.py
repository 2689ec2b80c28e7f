"""Prefect over DVC: the graph is dvc.yaml's, Prefect schedules and shows it."""
