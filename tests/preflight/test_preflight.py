"""What can be known before a run: versions, disk, devices, servers and their certificates."""

import http.server
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.frame.params_reader import ParamsFile, read_params
from pipelines.preflight import dvc_files, endpoints, machine
from pipelines.preflight.certificates import Until
from pipelines.preflight.finding import Finding
from tests.authority import DAY, Authority
from tests.conftest import ROOT, run_in


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParamsFile:
    """params.yaml, in a folder without remotes, and no server in use."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "PREFECT_API_URL",
        "WANDB_BASE_URL",
        "WANDB_API_KEY",
        "AWS_CA_BUNDLE",
        "MASKLINE_WEBHOOK",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    return read_params(ROOT / "params.yaml")


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(datetime.now(UTC).timestamp() + self.server.skew_s)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def _serving(context: ssl.SSLContext | None = None, skew_s: float = 0.0) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.skew_s = skew_s
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _found(params_file: ParamsFile, seconds: float = 60.0) -> list[Finding]:
    return list(endpoints.check(params_file, Until(timedelta(seconds=seconds))))


@pytest.mark.parametrize(
    ("name", "start", "end", "severity", "told"),
    [
        ("localhost", -DAY, 100 * DAY, None, ""),
        (
            "localhost",
            -9 * DAY,
            -DAY,
            "error",
            "the certificate has expired (of CN=localhost, by CN=Test Authority",
        ),
        ("localhost", DAY, 9 * DAY, "error", "the certificate is not valid yet"),
        (
            "elsewhere",
            -DAY,
            100 * DAY,
            "error",
            "the certificate is for another name (of CN=elsewhere",
        ),
        (
            "localhost",
            -50 * DAY,
            20 * DAY + timedelta(hours=1),
            "warning",
            "the certificate ends in 20 days",
        ),
        ("localhost", -50 * DAY, 26 * DAY, None, ""),  # a third of 76 days is 25 and a bit
        ("localhost", -DAY, timedelta(hours=8), "warning", "in the last third of its 32 hours"),
        ("localhost", -300 * DAY, 99 * DAY, "warning", "ends in 98 days"),
        (
            "localhost",
            -DAY,
            timedelta(minutes=10),
            "error",
            "before the run is over, in about 1:00:00; renew it",
        ),
    ],
    ids=[
        "good",
        "expired",
        "not-yet",
        "name",
        "soon",
        "two-thirds",
        "of-a-day",
        "of-a-year",
        "during-the-run",
    ],
)
def test_certificates(document, tmp_path, monkeypatch, name, start, end, severity, told):
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with _serving(authority.context(name, start, end)) as port:
        monkeypatch.setenv("PREFECT_API_URL", f"https://localhost:{port}/api")
        found = _found(document, seconds=3600)
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(
        f"Prefect (https://localhost:{port}): " in one.message and told in one.message
        for one in found
    )


@pytest.mark.parametrize(
    ("start", "end", "severity", "told"),
    [
        (-DAY, 100 * DAY, None, ""),
        (-90 * DAY, 10 * DAY, "warning", "of CN=Between, which signs it, ends in 9 days"),
        (-DAY, timedelta(minutes=10), "error", "of CN=Between, which signs it, ends 20"),
    ],
)
def test_what_signs_a_certificate_lasts_too(
    document, tmp_path, monkeypatch, start, end, severity, told
):
    """The authority itself is in the last third of its life, which is nobody's worry."""
    authority = Authority(tmp_path, begun=-2000 * DAY)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = authority.between(start, end).context("localhost", -DAY, 100 * DAY)
    with _serving(context) as port:
        monkeypatch.setenv("PREFECT_API_URL", f"https://localhost:{port}/api")
        found = _found(document, seconds=3600)
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(told in one.message for one in found)


@pytest.mark.parametrize(
    ("verify", "told"),
    [
        ("AUTHORITY", None),
        ("false", "ssl_verify ('false') must be true"),
        ("true", "ends in a certificate signed by itself"),
    ],
)
def test_a_remote_s_own_authority_is_asked(document, tmp_path, verify, told):
    authority = Authority(tmp_path)
    (tmp_path / ".dvc").mkdir()
    with _serving(authority.context("localhost", -DAY, 100 * DAY)) as port:
        (tmp_path / ".dvc/config").write_text(
            f"['remote \"store\"']\n    url = s3://box/a\n"
            f"    endpointurl = https://localhost:{port}\n"
            f"    ssl_verify = {verify.replace('AUTHORITY', str(authority.path))}\n"
        )
        found = _found(document)
    assert len(found) == (told is not None)
    assert all((told or "") in one.message for one in found)


def test_a_chain_nobody_knows_is_named(document, tmp_path, monkeypatch):
    with _serving(Authority(tmp_path).context("localhost", -DAY, 100 * DAY)) as port:
        monkeypatch.setenv("PREFECT_API_URL", f"https://localhost:{port}/api")
        (found,) = _found(document)
    assert found.severity == "error"
    assert (
        "has a chain that ends in a certificate signed by itself (of CN=localhost, by CN=Test Auth"
        in found.message
    )
    assert "SSL_CERT_FILE" in found.message


def test_servers_that_do_not_answer_and_clocks_that_differ(document, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{unused.getsockname()[1]}/api")
        (found,) = _found(document)
        assert (found.severity, found.check) == ("error", "endpoints")
        assert "must be reachable" in found.message
    for skew_s, severity in ((0, None), (-300, "warning"), (3600, "error")):
        with _serving(skew_s=skew_s) as port:
            monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
            found_now = _found(document)
        assert [one.severity for one in found_now] == ([severity] if severity else [])
        assert all(one.check == "clock" and "set the clock" in one.message for one in found_now)


def test_wandb_and_remotes_are_asked_only_where_they_are_used(document, tmp_path, monkeypatch):
    assert list(endpoints.endpoints(document)) == []
    (tmp_path / "a_file").touch()
    run_in(tmp_path, "git", "init", "-q")
    run_in(tmp_path, "dvc", "init", "-q")
    with _serving() as port:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        run_in(tmp_path, "dvc", "remote", "add", "store", "s3://bucket/path")
        run_in(
            tmp_path, "dvc", "remote", "modify", "store", "endpointurl", f"http://127.0.0.1:{port}"
        )
        run_in(
            tmp_path, "dvc", "remote", "add", "--local", "folder", str(tmp_path / "a_file/store")
        )
        named = {one.name: one.url for one in endpoints.endpoints(document)}
        assert named == {
            "W&B": f"http://127.0.0.1:{port}",
            "DVC remote store": f"http://127.0.0.1:{port}",
        }
        found = {one.check: one.message for one in _found(document)}
        assert set(found) == {"credentials", "remotes"}
        assert "wandb login" in found["credentials"]
        assert "a_file/store') must be a folder that can be written to" in found["remotes"]
        monkeypatch.setenv("WANDB_API_KEY", "x")
        assert {one.check for one in _found(document)} == {"remotes"}


@pytest.mark.parametrize(
    ("package", "bad", "good"),
    [
        ("lightning", ["2.6.2", "2.6.3"], ["2.6.4", "2.6.20", "2.7.0"]),
        ("fastapi", ["0.151.0", "0.165.0", "0.200.1", "1.0"], ["0.139.0", "0.150.9"]),
        ("sqlalchemy", ["2.1.0", "2.1.9", "3.0"], ["2.0.44"]),
    ],
)
def test_versions_that_do_not_work(monkeypatch, package, bad, good):
    for number in (*bad, *good):
        monkeypatch.setattr(
            machine, "version", lambda name, number=number: number if name == package else "0.0"
        )
        assert [one.severity for one in machine.versions()] == (["error"] if number in bad else [])


def test_installed_versions_work():
    assert list(machine.versions()) == []


def test_disk_that_is_full_or_nearly_so(document, tmp_path, monkeypatch):
    (tmp_path / "dvc.lock").write_text(
        "stages:\n  bert:\n    outs:\n    - {path: data/bert, size: 1048576000}\n"
    )
    for free_mib, severities in ((10_000, []), (3000, ["warning"]), (1900, ["error"])):
        usage = type("usage", (), {"free": free_mib * 2**20})
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder, usage=usage: usage)
        found = list(machine.disk(document))
        assert [one.severity for one in found] == severities
        assert all(f"free MiB ({free_mib}) must be" in one.message for one in found)


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        (
            "dvc.lock",
            "schema: '2.0'\nstages:\n  bert:\n    cmd: python -m pip\n    de",
            "git checkout dvc.lock",
        ),
        ("dvc.lock", "stages: [", "git checkout dvc.lock"),
        ("dvc.lock", "", "git checkout dvc.lock"),
        ("dvc.lock", "schema: '2.0'\nstages:\n", "git checkout dvc.lock"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  bert:\n", "git checkout dvc.lock"),
        (
            "dvc.lock",
            "stages:\n  bert:\n    cmd: x\n    deps: []\n    outs:\n    - size: ",
            "git checkout dvc.lock",
        ),
        (".dvc/tmp/rwlock", '{"data/bert": {"read": [{"pid": 1', "rm "),
        (".dvc/config", "[core]\nrubbish\n", "Invalid line ('rubbish')"),
        (".dvc/config.local", "['remote \"x", "git checkout the file"),
        (".dvc/config.local", "[cache]\n\udcff", "can't decode byte"),
        (".dvc", "[core]\n  autostage = maybe\n", "expected true or false"),
    ],
)
def test_files_of_dvc_that_were_cut_short_or_spoilt(tmp_path, path, content, told):
    assert list(dvc_files.files(tmp_path)) == []
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    written = tmp_path / (path if path != ".dvc" else ".dvc/config")
    written.write_text(content, errors="surrogateescape")
    (found,) = dvc_files.files(tmp_path)
    assert found.severity == "error"
    assert str(tmp_path / path) in found.message
    assert told in found.message


def test_remotes_of_both_files_are_looked_at(document, tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(
        "['remote \"a b\"']\n  url = s3://x/%40\n      region = r\n"
    )
    (tmp_path / ".dvc/config.local").write_text(
        "['remote \"é\"']\n  url = ../größe\n", encoding="utf-8"
    )
    document.root["tracking"]["mode"] = "offline"
    (one,) = endpoints.endpoints(document, tmp_path)
    assert one == endpoints.Endpoint("DVC remote a b", "https://s3.r.amazonaws.com")
    assert dvc_files.config(tmp_path)["remote"]["é"]["url"] == str(tmp_path / "größe")


def test_what_dvc_cannot_write_for_a_temporary_experiment_is_told(tmp_path):
    folder = tmp_path / "größe"
    for name, content in (
        (".git/config", "[user]\n"),
        (".dvc/config", ""),
        (".dvc/config.local", "[core]\n"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (found,) = dvc_files.temporary_experiments(folder)
    assert found.severity == "warning"
    assert "größe/.dvc/cache') must be ASCII" in found.message
    (folder / ".dvc/config.local").write_text(f"[cache]\n  dir = {tmp_path}\n")
    assert list(dvc_files.temporary_experiments(folder)) == []
    for path in (folder / ".git/config", folder / ".dvc/config.local"):
        with path.open("a", encoding="utf-8") as file:
            file.write("# José\n")
    of_git, of_dvc = (one.message for one in dvc_files.temporary_experiments(folder))
    assert str(folder / ".git/config") in of_git
    assert str(folder / ".dvc/config.local") in of_dvc


def test_ranks_that_cannot_talk(document, monkeypatch):
    document.root["hardware"] |= {"accelerator": "cpu", "devices": 2}
    assert [one for one in machine.devices(document) if one.severity == "error"] == []
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nosuchdevice0")
    (found,) = [one.message for one in machine.devices(document) if one.severity == "error"]
    assert "must let ranks reach each other" in found
    assert "GLOO_SOCKET_IFNAME" in found


def test_devices_that_are_not_there(document, monkeypatch):
    assert [one for one in machine.devices(document) if one.severity == "error"] == []
    document.root["hardware"]["accelerator"] = "gpu"
    document.root["hardware"]["devices"] = 64
    document.root["hardware"]["num_nodes"] = 2
    monkeypatch.setenv("MASTER_ADDR", "no.such.host.invalid")
    found = [one.message for one in machine.devices(document) if one.severity == "error"]
    assert "hardware.devices (64) must be at most the GPUs of this machine" in found[0]
    assert (
        "MASTER_ADDR ('no.such.host.invalid') must be the address of the first machine" in found[1]
    )


@pytest.mark.parametrize(
    ("visible", "accelerator", "devices", "refused"),
    [
        ("0,1", "auto", 2, False),
        ("0,1", "auto", 4, True),
        ("GPU-8932f937,MIG-GPU-1/1/0", "auto", 3, True),
        ("0,1", "gpu", 3, True),
        ("0,1", "cpu", 3, False),
        ("", "auto", 3, False),  # ranks on processors
        ("", "gpu", 1, True),
    ],
)
def test_devices_are_compared_with_those_that_are_visible(
    document, monkeypatch, visible, accelerator, devices, refused
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(machine, "_group", lambda **_: iter(()))
    document.root["hardware"] |= {"accelerator": accelerator, "devices": devices}
    found = [one.message for one in machine.devices(document) if one.severity == "error"]
    assert bool(found) is refused
    if refused:
        assert f"hardware.devices ({devices}) must be at most the GPUs of this machine" in found[0]
        assert (f"by CUDA_VISIBLE_DEVICES ({visible})" in found[0]) is bool(visible)


def test_preflight_as_json(reproduced_copy):
    run_in(reproduced_copy, "git", "add", "-A")
    run_in(reproduced_copy, "git", "commit", "-qm", "all")
    path = reproduced_copy / "params.yaml"
    path.write_text(path.read_text().replace("num_samples: 5", "num_smaples: 5"))
    command = [sys.executable, "-m", "pipelines.preflight", "--json"]

    def found(*more: str) -> list[dict[str, str]]:
        result = run_in(reproduced_copy, *command, *more, check=False)
        assert result.returncode == 2
        listed: list[dict[str, str]] = json.loads(result.stdout)
        return listed

    (problem,) = found()
    assert (problem["severity"], problem["check"]) == ("error", "params")
    assert "params.yaml" in problem["message"]
    # That results could not be traced is said where a run begins, and not at every check.
    assert [one["check"] for one in found("--run")] == ["git", "params"]
