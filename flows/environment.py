"""Prefect's settings, made before Prefect is imported: local, quiet, no account, no telemetry."""

import os
from pathlib import Path

if "PREFECT_HOME" not in os.environ:
    home = Path(".runs/prefect").resolve()
    home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder of the path only
    os.environ["PREFECT_HOME"] = str(home)
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
