"""How long a server's certificates last: its own, and those it is signed with.

Public certificates live for 200 days at most since March 2026, 100 from 2027 and 47 from 2029
(CA/Browser Forum ballot SC-081v3), so a fixed number of days says little: the last third of a life
is when it should have been renewed.
"""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.preflight.finding import Finding

PATIENCE_S = 3.0
_LAST_PART = 3  # of a life
REASONS = {  # OpenSSL's verify codes
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself",
    19: "has a chain that ends in a certificate signed by itself",
    20: "is signed by an authority this machine does not know",
    62: "is for another name",
}


def chain_lasts(where: str, wrapped: ssl.SSLSocket, run: timedelta) -> Iterator[Finding]:
    """Of each certificate between a server and an authority of this machine, whether it lasts.

    An authority's own lives for decades, and its last third is nobody's worry; only that it ends
    before the run is told.
    """
    for number, one in enumerate(_verified_chain(wrapped)):
        authority = one.subject == one.issuer
        name = "" if number == 0 else f" of {one.subject.rfc4514_string()}, which signs it,"
        begins = None if authority else one.not_valid_before_utc
        yield from lasts(where, f"certificate{name}", begins, one.not_valid_after_utc, run)


def lasts(
    where: str, what: str, begins: datetime | None, ends: datetime, run: timedelta
) -> Iterator[Finding]:
    """An error if something ends before the run does, a warning in the last third of its life.

    Args:
        where: server or variable.
        what: ``certificate`` or ``token``.
        begins: of its life; None: no warning.
        ends: of it.
        run: what it is expected to take from now.
    """
    check = "certificates" if what.startswith("certificate") else "credentials"
    left = ends - datetime.now(UTC)
    if left < run or left < timedelta(0):
        problem = f"before the run, which takes about {run}" if left > timedelta(0) else "already"
        told = f"the {what} ends {ends:%Y-%m-%d %H:%M} UTC, {problem}; renew it"
        yield Finding("error", check, f"{where}: {told}")
    elif begins is not None and left < (life := ends - begins) / _LAST_PART:
        told = (
            f"the {what} ends in {_about(left)} ({ends:%Y-%m-%d}), in the last third of its "
            f"{_about(life)}; renew it"
        )
        yield Finding("warning", check, f"{where}: {told}")


def _about(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{span.total_seconds() / 3600:.0f} hours"


def _verified_chain(wrapped: ssl.SSLSocket) -> list[Any]:
    """From the server's certificate to the authority's."""
    from cryptography import x509

    if hasattr(wrapped, "get_verified_chain"):  # since Python 3.13
        ders = wrapped.get_verified_chain()
    else:
        inner: Any = wrapped._sslobj  # type: ignore[attr-defined]
        pems = [one.public_bytes() for one in inner.get_verified_chain()]
        ders = [ssl.PEM_cert_to_DER_cert(pem) for pem in pems]
    return [x509.load_der_x509_certificate(der) for der in ders]


def described(host: str, port: int) -> str:
    """Subject, issuer and dates of a certificate that was not accepted."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            found = x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError) as error:
        return str(error)
    names = f"of {found.subject.rfc4514_string()}, by {found.issuer.rfc4514_string()}"
    return f"{names}, {found.not_valid_before_utc:%Y-%m-%d} to {found.not_valid_after_utc:%Y-%m-%d}"
