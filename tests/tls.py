"""A server behind TLS whose certificate can end and be renewed while it serves."""

import contextlib
import socket
import ssl
import threading
from datetime import timedelta

from tests.authority import DAY, Authority


class BehindTls:
    """Each connection anew, with the certificate of that moment.

    Args:
        server: address of a plain HTTP server, ``http://127.0.0.1:1234``.
        authority: signs the certificates, of ``localhost``.
        lasts: the first one, from now.
        begun: it has, likewise.
    """

    def __init__(
        self, server: str, authority: Authority, lasts: timedelta, begun: timedelta = -DAY
    ) -> None:
        host, port = server.removeprefix("http://").split(":")
        self._behind, self._authority = (host, int(port)), authority
        self._context = authority.context("localhost", begun, lasts)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"https://localhost:{self._socket.getsockname()[1]}"

    def renew(self, lasts: timedelta = DAY) -> None:
        """Another certificate, for a day."""
        self._context = self._authority.context("localhost", -DAY, lasts)

    def __enter__(self) -> "BehindTls":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                plain, _ = self._socket.accept()
                threading.Thread(target=self._relay, args=(plain,), daemon=True).start()

    def _relay(self, plain: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError, OSError):
            outer = self._context.wrap_socket(plain, server_side=True)
            inner = socket.create_connection(self._behind)
            threading.Thread(target=_copy, args=(outer, inner), daemon=True).start()
            _copy(inner, outer)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
