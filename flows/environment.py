"""Prefect's settings, made before Prefect is imported: local, quiet, no account, no telemetry."""

import os
from pathlib import Path

if "PREFECT_HOME" not in os.environ:
    home = Path(".runs/prefect").resolve()
    home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder of the path only
    os.environ["PREFECT_HOME"] = str(home)
for _name, _value in {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
}.items():
    os.environ.setdefault(_name, _value)

HEARTBEAT_S = int(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
