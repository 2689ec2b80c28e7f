"""On the path of a process, writes into $NETWORK_LOG whom it wants to reach on other machines, by
Python's audit.
"""

import os
import sys

_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        host = (
            os.fsdecode(arguments[0] or "localhost")
            if not isinstance(arguments[0], str)
            else arguments[0]
        )
    else:
        return
    if not host.startswith(_LOCAL):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {host} by {sys.argv}\n")


if "NETWORK_LOG" in os.environ:
    sys.addaudithook(_watch)
