"""Every server a run will talk to: reachable, known, with a certificate that lasts,
and a clock like ours.
"""

import base64
import http.client
import netrc
import os
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

from pipelines.frame.errors import broken_rule
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.frame.tracking import TrackingParams
from pipelines.preflight import dvc_files
from pipelines.preflight.finding import Finding

_PATIENCE_S = 3.0
_SOON = timedelta(days=30)
# S3 refuses requests that are 15 minutes off
_SKEW, _BAD_SKEW = (timedelta(seconds=60), timedelta(minutes=10))
_REASONS = {  # OpenSSL's verify codes
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself",
    19: "has a chain that ends in a certificate signed by itself",
    20: "is signed by an authority this machine does not know",
    62: "is for another name",
}


@dataclass(frozen=True)
class Endpoint:
    """A server in use.

    Attributes:
        name: what it is to us.
        url: with scheme and host.
    """

    name: str
    url: str


def endpoints(params_file: ParamsFile, folder: Path = Path()) -> Iterator[Endpoint]:
    """The servers of W&B (online), Prefect's API, and DVC's remotes."""
    tracking = validate(params_file, "tracking", TrackingParams)
    if os.environ.get("WANDB_MODE", tracking.mode) == "online":
        yield Endpoint("W&B", os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if url := os.environ.get("PREFECT_API_URL"):
        yield Endpoint("Prefect", url)
    for name, section in dvc_files.config(folder)["remote"].items():
        url = section.get("endpointurl") or section.get("url", "")
        if url.startswith("s3://"):
            url = f"https://s3.{section.get('region', 'us-east-1')}.amazonaws.com"
        if "://" in url:
            yield Endpoint(f"DVC remote {name}", url)


def check(params_file: ParamsFile, seconds: float, folder: Path = Path()) -> Iterator[Finding]:
    """All servers at once.

    Args:
        params_file: the params.
        seconds: the run is going to take.
        folder: the checkout.
    """
    found = list(endpoints(params_file, folder))
    with ThreadPoolExecutor(max_workers=8) as pool:
        for findings in pool.map(
            lambda one: list(_check_one(one, timedelta(seconds=seconds))), found
        ):
            yield from findings
    for one in found:
        if one.name == "Prefect":
            yield from _prefect_password(one.url)
    if any(one.name == "W&B" for one in found):
        yield from _wandb_key(next(one.url for one in found if one.name == "W&B"))
    for name, section in dvc_files.config(folder)["remote"].items():
        path = Path(section.get("url", ""))
        there = _existing(folder / ".dvc" / path)
        if "://" not in section.get("url", "") and not (
            there.is_dir() and os.access(there, os.W_OK)
        ):
            rule, remedy = "be a folder that can be written to", "create it, or dvc remote modify"
            problem = broken_rule(f"DVC remote {name}", "url", str(path), rule, remedy)
            yield Finding("error", "remotes", problem)


def _existing(path: Path) -> Path:
    """The deepest part of a path that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _prefect_password(url: str) -> Iterator[Finding]:
    """Whether the server takes what this machine knows;
    one that cannot be reached is told of elsewhere.
    """
    if os.environ.get("PREFECT_API_KEY"):
        return  # Prefect's cloud has keys instead
    password = os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get(
        "PREFECT_SERVER_API_AUTH_STRING", ""
    )
    request = urllib.request.Request(f"{url}/admin/version")
    if password:
        request.add_header("Authorization", "Basic " + base64.b64encode(password.encode()).decode())
    try:
        _opener(url).open(request, timeout=_PATIENCE_S).close()
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.UNAUTHORIZED:
            problem = (
                f"PREFECT_API_AUTH_STRING ({'another' if password else 'not set'}) must be the "
                "server's; set it"
            )
            yield Finding("error", "credentials", f"Prefect ({url}): {problem}")
    except (OSError, ValueError, http.client.HTTPException):
        return  # told of by `_check_one`


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Loopback is never behind a proxy."""
    host = urllib.parse.urlsplit(url).hostname
    direct = host in ("127.0.0.1", "localhost", "::1")
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if direct else []))


def _wandb_key(url: str) -> Iterator[Finding]:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        stored = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        stored = None
    if not os.environ.get("WANDB_API_KEY") and not stored:
        yield Finding(
            "error",
            "credentials",
            f"W&B: a key for {host} must be known; wandb login, or set WANDB_API_KEY",
        )


def _check_one(endpoint: Endpoint, run: timedelta) -> Iterator[Finding]:
    try:
        parts = urllib.parse.urlsplit(endpoint.url)
        port = parts.port or {"https": 443, "http": 80, "ssh": 22}.get(parts.scheme)
    except ValueError as error:
        rule, remedy = f"be an address ({error})", "correct it: http://127.0.0.1:4200/api"
        yield Finding(
            "error", "endpoints", broken_rule(endpoint.name, "address", endpoint.url, rule, remedy)
        )
        return
    secure = parts.scheme == "https"
    if not parts.hostname or not port:
        return  # azure://container and the like: their own libraries know where that is
    where = f"{endpoint.name} ({parts.scheme}://{parts.hostname}:{port})"
    try:
        with socket.create_connection((parts.hostname, port), timeout=_PATIENCE_S) as plain:
            if not secure:
                yield from _clock(where, plain, parts) if parts.scheme == "http" else ()
                return
            with ssl.create_default_context().wrap_socket(
                plain, server_hostname=parts.hostname
            ) as wrapped:
                ends = datetime.fromtimestamp(
                    ssl.cert_time_to_seconds(str((wrapped.getpeercert() or {})["notAfter"])), UTC
                )
                yield from _lasts(where, ends, run)
                yield from _clock(where, wrapped, parts)
    except ssl.SSLCertVerificationError as error:
        reason = _REASONS.get(error.verify_code, error.verify_message)
        remedy = "renew it, or trust its authority by SSL_CERT_FILE"
        problem = f"the certificate {reason} ({_described(parts.hostname, port)}); {remedy}"
        yield Finding("error", "certificates", f"{where}: {problem}")
    except OSError as error:
        remedy = "start it, or check network and address"
        yield Finding("error", "endpoints", f"{where}: must be reachable ({error}); {remedy}")


def _lasts(where: str, ends: datetime, run: timedelta) -> Iterator[Finding]:
    left = ends - datetime.now(UTC)
    if left < run:
        problem = (
            f"the certificate ends {ends:%Y-%m-%d %H:%M} UTC, before the run, which takes about "
            f"{run}; renew it"
        )
        yield Finding("error", "certificates", f"{where}: {problem}")
    elif left < _SOON:
        yield Finding(
            "warning",
            "certificates",
            f"{where}: the certificate ends in {left.days} days ({ends:%Y-%m-%d}); renew it",
        )


def _described(host: str, port: int) -> str:
    """Subject, issuer and dates of a certificate that was not accepted."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=_PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            found = x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError) as error:
        return str(error)
    names = f"of {found.subject.rfc4514_string()}, by {found.issuer.rfc4514_string()}"
    return f"{names}, {found.not_valid_before_utc:%Y-%m-%d} to {found.not_valid_after_utc:%Y-%m-%d}"


def _clock(
    where: str, connection: socket.socket, parts: urllib.parse.SplitResult
) -> Iterator[Finding]:
    """Whether the server's clock, as it tells it in its answer, is ours."""
    connection.settimeout(_PATIENCE_S)
    try:
        connection.sendall(
            f"HEAD / HTTP/1.1\r\nHost: {parts.hostname}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = connection.recv(65536).decode("latin-1")
    except OSError:
        return
    dates = [
        line.partition(":")[2].strip()
        for line in answer.split("\r\n")
        if line.lower().startswith("date:")
    ]
    if not dates:
        return
    try:
        skew = abs(parsedate_to_datetime(dates[0]) - datetime.now(UTC))
    except (TypeError, ValueError):
        return
    if skew > _SKEW:
        problem = (
            f"its clock and this machine's differ by {skew}; they must agree to a minute; set the "
            "clock (NTP)"
        )
        yield Finding("error" if skew > _BAD_SKEW else "warning", "clock", f"{where}: {problem}")
