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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from pipelines.frame.errors import broken_rule
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.frame.tracking import TrackingParams
from pipelines.preflight import dvc_files
from pipelines.preflight.certificates import (
    PATIENCE_S,
    REASONS,
    Until,
    chain_lasts,
    described,
)
from pipelines.preflight.finding import Finding

WEBHOOK = "MASKLINE_WEBHOOK"
# S3 refuses requests that are 15 minutes off
_SKEW, _BAD_SKEW = (timedelta(seconds=60), timedelta(minutes=10))


@dataclass(frozen=True)
class Endpoint:
    """A server in use.

    Attributes:
        name: what it is to us.
        url: with scheme and host.
        authorities: file of those that are trusted with it, beside this machine's; ``False``: its
            certificate is not looked at.
    """

    name: str
    url: str
    authorities: str | Literal[False] | None = None


def endpoints(params_file: ParamsFile, folder: Path = Path()) -> Iterator[Endpoint]:
    """The servers of W&B (online), Prefect's API, the webhook, and DVC's remotes."""
    tracking = validate(params_file, "tracking", TrackingParams)
    if os.environ.get("WANDB_MODE", tracking.mode) == "online":
        yield Endpoint("W&B", os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if url := os.environ.get("PREFECT_API_URL"):
        yield Endpoint("Prefect", url)
    if url := os.environ.get(WEBHOOK):
        yield Endpoint("webhook", url)
    for name, section in dvc_files.config(folder)["remote"].items():
        url = section.get("endpointurl") or section.get("url", "")
        if url.startswith("s3://"):
            url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or url
        if url.startswith("s3://"):
            url = f"https://s3.{section.get('region', 'us-east-1')}.amazonaws.com"
        if "://" in url:
            yield Endpoint(f"DVC remote {name}", url, _authorities(section))


def _authorities(section: Mapping[str, Any]) -> str | Literal[False] | None:
    """As DVC has them for a remote: its own ``ssl_verify``, else, for a bucket, AWS's variable."""
    given = section.get("ssl_verify")
    if given is None and str(section.get("url", "")).startswith("s3://"):
        given = os.environ.get("AWS_CA_BUNDLE")
    told = str(given).lower()
    return False if told == "false" else str(given) if told not in ("none", "true", "") else None


def check(params_file: ParamsFile, until: Until, folder: Path = Path()) -> Iterator[Finding]:
    """All servers at once.

    Args:
        params_file: the params.
        until: how long certificates have to last.
        folder: the checkout.
    """
    found = list(endpoints(params_file, folder))
    with ThreadPoolExecutor(max_workers=8) as pool:
        for one, findings in zip(
            found, pool.map(lambda one: list(_check_one(one, until)), found), strict=True
        ):
            # A run does not need the webhook: what is wrong with it is a warning.
            weaker = one.name == "webhook"
            yield from (replace(f, severity="warning") if weaker else f for f in findings)
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
        _opener(url).open(request, timeout=PATIENCE_S).close()
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


def _check_one(endpoint: Endpoint, until: Until) -> Iterator[Finding]:
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
        with socket.create_connection((parts.hostname, port), timeout=PATIENCE_S) as plain:
            if not secure:
                yield from _clock(where, plain, parts) if parts.scheme == "http" else ()
                return
            if endpoint.authorities is False:
                rule, remedy = "be true, or name a file of authorities", "dvc remote modify"
                message = broken_rule(where, "ssl_verify", "false", rule, remedy)
                yield Finding("warning", "certificates", message)
                return
            context = ssl.create_default_context()
            if endpoint.authorities is not None:
                context.load_verify_locations(endpoint.authorities)
            with context.wrap_socket(plain, server_hostname=parts.hostname) as wrapped:
                yield from chain_lasts(where, wrapped, until)
                yield from _clock(where, wrapped, parts)
    except ssl.SSLCertVerificationError as error:
        reason = REASONS.get(error.verify_code, error.verify_message)
        remedy = "renew it, or trust its authority by SSL_CERT_FILE"
        problem = f"the certificate {reason} ({described(parts.hostname, port)}); {remedy}"
        yield Finding("error", "certificates", f"{where}: {problem}")
    except OSError as error:
        remedy = "start it, or check network and address"
        yield Finding("error", "endpoints", f"{where}: must be reachable ({error}); {remedy}")


def _clock(
    where: str, connection: socket.socket, parts: urllib.parse.SplitResult
) -> Iterator[Finding]:
    """Whether the server's clock, as it tells it in its answer, is ours."""
    connection.settimeout(PATIENCE_S)
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
