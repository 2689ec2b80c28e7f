"""Who may open the server to others, and how a flow and its preflight know the password."""

import base64
import http.server
import os
import subprocess
import sys
import threading

import pytest

from flows.ui import main, reached_at, require_password
from pipelines.frame.errors import ParamsError
from pipelines.preflight.endpoints import _prefect_password
from tests.conftest import ROOT, run_in


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "localhost", "::1"])
def test_loopback_needs_no_password(host):
    assert require_password(host, "") is None  # nothing raised


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.1.2.3", "example.org", "127.0.0.1.example.org", ""]
)
def test_other_addresses_need_one(host):
    with pytest.raises(
        ParamsError, match=r"--host .* must be a loopback address .* or have a password"
    ):
        require_password(host, "")
    require_password(host, "me:secret")
    for useless in ("secret", ":secret", "me:"):
        with pytest.raises(ParamsError, match="must be user:password") as refused:
            require_password(host, useless)
        assert "secret" not in str(refused.value)


def test_ui_refuses_before_it_starts_anything(monkeypatch, capsys):
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    monkeypatch.setattr(sys, "argv", ["flows.ui", "--host", "0.0.0.0"])
    assert main() == 2
    assert "tunnel (ssh -L" in capsys.readouterr().err


def test_an_address_is_reached_on_this_machine():
    found = [reached_at(host) for host in ("0.0.0.0", "::", "::1", "127.0.0.1", "host")]
    assert found == ["127.0.0.1", "[::1]", "[::1]", "127.0.0.1", "host"]


def test_flows_and_workers_of_a_server_with_a_password_know_it():
    script = "import os, flows.environment; print(os.environ.get('PREFECT_API_AUTH_STRING'))"
    told = [
        run_in(ROOT, sys.executable, "-c", script, PREFECT_HOME="/nowhere", **given).stdout.strip()
        for given in ({}, {"PREFECT_SERVER_API_AUTH_STRING": "a:b"})
    ]
    own = {"PREFECT_SERVER_API_AUTH_STRING": "a:b", "PREFECT_API_AUTH_STRING": "c:d"}
    told.append(
        run_in(ROOT, sys.executable, "-c", script, PREFECT_HOME="/nowhere", **own).stdout.strip()
    )
    assert told == ["None", "a:b", "c:d"]


def test_loopback_is_never_behind_a_proxy():
    script = "import os, flows.environment; print(os.environ['NO_PROXY'], os.environ['no_proxy'])"
    environment = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
    environment["PREFECT_HOME"] = "/nowhere"
    for given, expected in (
        ({"NO_PROXY": "intern.example,127.0.0.1"}, "intern.example,127.0.0.1,localhost,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,b,127.0.0.1,localhost,::1"),
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*", "no_proxy": "*"}, "*"),
    ):
        printed = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment | given,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert printed == [expected, expected]


@pytest.fixture
def guarded():
    """A server that wants a:b."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            right = "Basic " + base64.b64encode(b"a:b").decode()
            self.send_response(200 if self.headers.get("Authorization") == right else 401)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "PREFECT_API_AUTH_STRING (not set) must be the server's"),
        (
            {"PREFECT_API_AUTH_STRING": "x:y"},
            "PREFECT_API_AUTH_STRING (another) must be the server's",
        ),
        ({"PREFECT_API_AUTH_STRING": "a:b"}, None),
        ({"PREFECT_SERVER_API_AUTH_STRING": "a:b"}, None),
    ],
)
def test_preflight_finds_a_password_that_is_not_the_servers(
    monkeypatch, guarded, environment, told
):
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = [one.message for one in _prefect_password(guarded)]
    assert len(found) == bool(told)
    assert all(told in message and "x:y" not in message for message in found)
