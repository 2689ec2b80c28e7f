"""Prefect's settings, made before Prefect is imported: local, quiet, no account, no telemetry,
no proxy to itself.
"""

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

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_hosts = [
    host
    for name in ("no_proxy", "NO_PROXY")
    for host in os.environ.get(name, "").split(",")
    if host.strip()
]
if "*" not in _hosts:  # whatever HTTP_PROXY says, our own server is not behind it
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys([*_hosts, *_LOOPBACK]))

# The server's password: its flows and workers have to know it too.
if _password := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
    os.environ.setdefault("PREFECT_API_AUTH_STRING", _password)

HEARTBEAT_S = int(os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
