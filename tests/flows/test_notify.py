"""The webhook is told what failed, once, and cannot hurt a flow."""

import http.server
import json
import threading
from types import SimpleNamespace

import pytest

from flows.notify import WEBHOOK, notify

FAILED = (
    SimpleNamespace(name="maskline"),
    SimpleNamespace(name="brave-owl"),
    SimpleNamespace(name="Failed", message="x"),
)


@pytest.fixture
def webhook():
    """Its address, and what it was told."""
    told = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told
    server.shutdown()
    server.server_close()


def test_webhook_is_told(webhook, monkeypatch):
    url, told = webhook
    monkeypatch.setenv(WEBHOOK, url)
    notify(*FAILED)
    expected = {"flow": "maskline", "run": "brave-owl", "state": "Failed", "message": "x"}
    assert told == [{"text": "maskline brave-owl: Failed\nx", **expected}]


@pytest.mark.parametrize("path", ["/broken?key=secret", "closed", "nonsense"])
def test_webhook_that_does_not_answer_hurts_nobody_and_stays_secret(
    webhook, monkeypatch, capsys, path
):
    url, _ = webhook
    address = {"closed": "http://127.0.0.1:1/?key=secret", "nonsense": "secret"}.get(
        path, f"{url}/broken"
    )
    monkeypatch.setenv(WEBHOOK, address)
    notify(*FAILED)
    printed = capsys.readouterr().err
    assert f"the webhook of {WEBHOOK} was not told" in printed
    assert "secret" not in printed


def test_no_webhook_is_nothing(monkeypatch, capsys):
    monkeypatch.delenv(WEBHOOK, raising=False)
    notify(*FAILED)
    assert capsys.readouterr().err == ""
