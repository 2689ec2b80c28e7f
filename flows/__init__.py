"""Prefect over DVC: the graph is dvc.yaml's, Prefect schedules and shows it."""

from flows import environment  # noqa: F401  (Prefect reads its settings once, when it is imported)
