"""Keys that say when they end: of each kind, in each place; and those that say nothing."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.preflight.certificates import Until
from pipelines.preflight.tokens import check, life_of

NOW = datetime.now(UTC)


def _web_token(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{body}.c2ln"


def _ends(hours: float, *, begun: float | None = None) -> str:
    claims = {"exp": (NOW + timedelta(hours=hours)).timestamp()}
    if begun is not None:
        claims["iat"] = (NOW + timedelta(hours=begun)).timestamp()
    return _web_token(**claims)


@pytest.fixture(autouse=True)
def _empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("token", "severity", "told"),
    [
        (_ends(0.5), "error", "before the run is over, in about 1:00:00; renew it"),
        (_ends(-1), "error", "UTC, already; renew it"),
        (_ends(5), None, ""),
        (_ends(5, begun=-100), "warning", "the token ends in 5 hours"),
        (_ends(50, begun=-50), None, ""),
        ("local-" + "0123456789abcdef" * 2, None, ""),
        ("a.b.c", None, ""),
        (_web_token(sub="me"), None, ""),
        (_web_token(exp="soon"), None, ""),
        (_web_token(exp=1e40), None, ""),
    ],
    ids=["ends", "ended", "lasts", "late", "early", "opaque", "dots", "endless", "words", "huge"],
)
def test_of_variables(monkeypatch, token, severity, told):
    monkeypatch.setenv("WANDB_API_KEY", token)
    found = list(check(Until(timedelta(hours=1))))
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(one.check == "credentials" and told in one.message for one in found)
    assert all(token not in one.message for one in found)  # a secret


def test_of_files_sessions_and_remotes(tmp_path, monkeypatch):
    for name, hours in (("identity", -0.1), ("renewed", 0.1)):
        (tmp_path / name).write_text(_ends(hours) + "\n")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "renewed"))
    monkeypatch.setenv("WANDB_IDENTITY_TOKEN_FILE", str(tmp_path / "identity"))
    soon = (NOW + timedelta(minutes=5)).isoformat()
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", soon)
    signed = f"sv=2024-11-04&st=2026-01-01T00:00:00Z&se={soon[:19]}Z&sig=abc%3D"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text(
        f"['remote \"azure\"']\n    url = azure://box\n    sas_token = {signed}\n"
    )
    found = list(check(Until(timedelta(hours=1)), tmp_path))
    assert [one.severity for one in found] == ["warning", "warning", "error"]
    assert [one.message.partition(":")[0] for one in found] == [
        f"WANDB_IDENTITY_TOKEN_FILE ({tmp_path}/identity)",
        "AWS_CREDENTIAL_EXPIRATION",
        "DVC remote azure, sas_token",
    ]
    assert life_of(f"DefaultEndpointsProtocol=https;SharedAccessSignature={signed}").begins
