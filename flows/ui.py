"""Prefect's server, its UI and workers for this checkout: ``python -m flows.ui [--port N]``.

Bound to the loopback device; whoever can reach the server can run code here. Another address needs
a password (PREFECT_SERVER_API_AUTH_STRING, see docs/operations.md). Ctrl-C ends all of it,
politely.
"""

import argparse
import ipaddress
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import flows.environment  # noqa: F401  (sets PREFECT_HOME)
from flows.deployments import POOL, WATCH_POOL
from flows.process import Children
from flows.server import wait_until_healthy
from pipelines.frame.errors import ParamsError, broken_rule

LOGS = Path(os.environ["PREFECT_HOME"])


def require_password(host: str, password: str) -> None:
    """Refuse to open the server to others without one: they could run any code as this user.

    Raises:
        ParamsError: the address is not a loopback one and there is no password, or one that Prefect
            cannot use.
    """
    if _is_loopback(host):
        return
    rule = (
        "be a loopback address (127.0.0.1), or have a password: whoever reaches the server can "
        "run code here"
    )
    remedy = (
        "tunnel (ssh -L 4200:127.0.0.1:4200), or set PREFECT_SERVER_API_AUTH_STRING=user:password "
        "(docs/operations.md)"
    )
    if not password:
        raise ParamsError(broken_rule("flows.ui", "--host", host, rule, remedy))
    if not all(password.partition(":")):
        rule, remedy = "be user:password, both not empty", "set it anew"
        raise ParamsError(
            broken_rule("environment", "PREFECT_SERVER_API_AUTH_STRING", "…", rule, remedy)
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reached_at(host: str) -> str:
    """The host of an address on this machine: every address is reached by loopback,
    IPv6 stands in brackets.
    """
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{local}]" if ":" in local else local


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=4200)
    return parser


def _environment(host: str, url: str) -> dict[str, str]:
    """What server, worker and deployments have to know."""
    environment = {"PREFECT_API_URL": url, "PREFECT_SERVER_API_HOST": host}
    if not _is_loopback(host):  # a browser elsewhere asks where it got the page
        environment["PREFECT_UI_API_URL"] = os.environ.get("PREFECT_UI_API_URL", "/api")
    return environment


def main() -> int:
    """Run until told to stop."""
    arguments = _parser().parse_args()
    try:
        require_password(arguments.host, os.environ.get("PREFECT_SERVER_API_AUTH_STRING", ""))
    except ParamsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    address = f"http://{reached_at(arguments.host)}:{arguments.port}"
    url = f"{address}/api"
    environment = _environment(arguments.host, url)
    os.environ.update(environment)
    LOGS.mkdir(parents=True, exist_ok=True)
    children, ended = Children(), threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)

    def keep(name: str, *command: str) -> None:
        path = LOGS / f"{name}.log"
        with path.open("w", encoding="utf-8", buffering=1) as log:
            code = children.run(
                [sys.executable, "-m", *command], lambda line: print(line, file=log), environment
            )
        if not ended.is_set():
            print(
                f"error: Prefect's {name} ended with {code}; its last words are in {path}",
                file=sys.stderr,
            )
        ended.set()

    server = ("prefect", "server", "start", "--host", arguments.host, "--port", str(arguments.port))
    workers = {"worker": POOL, "watching worker": WATCH_POOL}
    try:
        threading.Thread(target=keep, args=("server", *server), daemon=True).start()
        wait_until_healthy(url)
        quiet = children.run(
            [sys.executable, "-m", "flows.deployments"], lambda line: None, environment
        )
        if quiet:
            raise RuntimeError(
                f"flows.deployments ended with {quiet}; run it by hand with PREFECT_API_URL={url}"
            )
        for name, pool in workers.items():
            start = ("prefect", "worker", "start", "--pool", pool, "--type", "process")
            threading.Thread(target=keep, args=(name, *start, "--limit", "1"), daemon=True).start()
        print(f"Prefect's UI: {address}; its logs: {LOGS}; Ctrl-C ends it", flush=True)
        ended.wait()
    except (TimeoutError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        children.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
