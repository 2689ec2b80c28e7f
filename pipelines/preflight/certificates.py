"""How long a server's certificates last: its own, and those it is signed with.

Public certificates live for 200 days at most since March 2026, 100 from 2027 and 47 from 2029
(CA/Browser Forum ballot SC-081v3), so a fixed number of days says little: the last third of a life
is when it should have been renewed.
"""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.preflight.finding import Finding, Severity

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


@dataclass(frozen=True)
class Until:
    """How long things have to last from now.

    Attributes:
        span: the time.
        what: is over then, ``the run``.
    """

    span: timedelta
    what: str = "the run"


def chain_lasts(where: str, wrapped: ssl.SSLSocket, until: Until) -> Iterator[Finding]:
    """Of each certificate between a server and an authority of this machine, whether it lasts.

    An authority's own lives for decades, and its last third is nobody's worry; only that it ends
    before the run is told.
    """
    for number, one in enumerate(_verified_chain(wrapped)):
        authority = number > 0 and one.subject == one.issuer
        name = "" if number == 0 else f" of {one.subject.rfc4514_string()}, which signs it,"
        begins = None if authority else one.not_valid_before_utc
        yield from lasts(where, f"certificate{name}", begins, one.not_valid_after_utc, until)


def lasts(
    where: str, what: str, begins: datetime | None, ends: datetime, until: Until,
    severity: Severity = "error",
) -> Iterator[Finding]:  # fmt: skip
    """An error if something ends too early, a warning in the last third of its life.

    Args:
        where: server or variable.
        what: ``certificate`` or ``token``.
        begins: of its life; None: no warning.
        ends: of it.
        until: how long it has to last.
        severity: of what ends too early; a warning for what renews itself.
    """
    check = "certificates" if what.startswith("certificate") else "credentials"
    left = ends - datetime.now(UTC)
    if left < until.span:
        later = f"before {until.what} is over, in about {until.span}"
        problem = later if left > timedelta(0) else "already"
        told = f"the {what} ends {ends:%Y-%m-%d %H:%M} UTC, {problem}; renew it"
        yield Finding(severity, check, f"{where}: {told}")
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
