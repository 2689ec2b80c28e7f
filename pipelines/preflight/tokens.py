"""Keys that say themselves when they end: JSON web tokens, Azure's signed addresses, AWS sessions.

A key that says nothing, such as one of W&B's or a password, is not judged.
"""

import base64
import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipelines.preflight import dvc_files
from pipelines.preflight.certificates import Until, lasts
from pipelines.preflight.finding import Finding, Severity

_VARIABLES = (
    "WANDB_API_KEY", "PREFECT_API_KEY", "HF_TOKEN", "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING",
)  # fmt: skip
_FILES = ("WANDB_IDENTITY_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]*")
_SECRETS = ("token", "password", "sas_token", "connection_string", "session_token")  # of remotes


@dataclass(frozen=True)
class Life:
    """When a key begins, if it says so, and when it ends."""

    begins: datetime | None
    ends: datetime


def check(until: Until, folder: Path = Path()) -> Iterator[Finding]:
    """Keys of this machine that end too early, or soon; of those that others renew, a warning.

    Args:
        until: how long they have to last.
        folder: the checkout.
    """
    for where, life, renewed in _lives(folder):
        severity: Severity = "warning" if renewed else "error"
        yield from lasts(where, "token", life.begins, life.ends, until, severity)


def _lives(folder: Path) -> Iterator[tuple[str, Life, bool]]:
    for variable in _VARIABLES:
        if life := life_of(os.environ.get(variable, "")):
            yield variable, life, False
    for variable in _FILES:
        path = Path(os.environ.get(variable) or os.devnull)
        life = life_of(path.read_text(encoding="utf-8").strip()) if path.is_file() else None
        if life and life.ends < datetime.now(UTC):  # what writes the file has not renewed it
            yield f"{variable} ({path})", life, True
    if ends := _moment(os.environ.get("AWS_CREDENTIAL_EXPIRATION", "")):
        yield "AWS_CREDENTIAL_EXPIRATION", Life(None, ends), True
    for name, section in dvc_files.config(folder)["remote"].items():
        for key in _SECRETS:
            if life := life_of(str(section.get(key, ""))):
                yield f"DVC remote {name}, {key}", life, False


def life_of(key: str) -> Life | None:
    """What a key says of itself; None if it says nothing.

    >>> life_of("sv=2024-11-04&st=2026-11-01&se=2026-12-01T00:00:00Z&sig=x").ends.date().isoformat()
    '2026-12-01'
    """
    if match := _JWT.fullmatch(key):
        return _of_web_token(match[1])
    # Azure's shared access signature, alone or at the end of a connection string.
    fields = urllib.parse.parse_qs(key.rpartition("SharedAccessSignature=")[2].lstrip("?"))
    if "sig" in fields and (ends := _moment(fields.get("se", [""])[0])):
        return Life(_moment(fields.get("st", [""])[0]), ends)
    return None


def _of_web_token(payload: str) -> Life | None:
    """RFC 7519, section 4.1: ``exp``, and ``nbf`` or ``iat`` for its begin."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        ends = datetime.fromtimestamp(claims["exp"], UTC)
        begins = claims.get("nbf", claims.get("iat"))
        return Life(None if begins is None else datetime.fromtimestamp(begins, UTC), ends)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
        return None


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
