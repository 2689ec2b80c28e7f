"""The daily look: what ends soon fails the flow, which tells the webhook."""

import http.server
import json
import sys
import threading
from datetime import timedelta

import pytest

from flows.notify import notify
from flows.watch import watch
from tests.authority import DAY, Authority
from tests.conftest import ROOT, copy_project, run_in
from tests.tls import BehindTls


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


def test_what_ends_soon_fails_the_flow_until_it_is_renewed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    plain = f"http://127.0.0.1:{server.server_address[1]}"
    with BehindTls(plain, authority, timedelta(hours=30), -100 * DAY) as served:
        monkeypatch.setenv("PREFECT_API_URL", f"{served.address}/api")
        state = watch.fn()
        assert state.is_failed()
        assert "warning: Prefect (https://localhost" in state.message
        assert "in the last third of its 101 days; renew it" in state.message
        assert watch.on_failure_hooks == [notify]
        served.renew()
        later = watch.fn()  # a day until the next look: it must last longer
        assert later.is_failed()
        assert (
            "before a run that begins before the next look is over, in about 1 day" in later.message
        )
        served.renew(100 * DAY)
        state = watch.fn()
        assert (state.is_completed(), state.message) == (
            True,
            "servers answer, certificates and keys last",
        )
    server.shutdown()
    server.server_close()
    monkeypatch.setenv("PREFECT_API_URL", f"{plain}/api")
    assert "must be reachable" in watch.fn().message


def test_params_that_are_not_there_fail_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = watch.fn()
    assert state.is_failed()
    assert "params.yaml: no such file" in state.message


@pytest.mark.parametrize("name", ["watch", "nightly", "on-demand", "sweep"])
def test_deployments_name_flows_that_are_there(name):
    from importlib import import_module

    from ruamel.yaml import YAML

    found = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
    one = next(one for one in found if one["name"] == name)
    file, _, flow = one["entrypoint"].partition(":")
    entry = getattr(import_module(file.removesuffix(".py").replace("/", ".")), flow)
    known = entry.parameters.properties
    assert set(one["parameters"]) <= set(known)
    pool = one["work_pool"]["name"]
    assert pool == ("maskline-watch" if name == "watch" else "maskline")


@pytest.mark.reliability
def test_the_webhook_is_told_what_ends_by_a_real_flow(tmp_path):
    project, authority = copy_project(tmp_path / "project"), Authority(tmp_path)
    told = []

    class Hook(_Handler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    plain = f"http://127.0.0.1:{server.server_address[1]}"
    with BehindTls(plain, authority, 20 * DAY, -180 * DAY) as served:
        run_in(project, "dvc", "remote", "add", "--local", "--default", "store", "s3://box/x")
        for key, value in (("endpointurl", served.address), ("ssl_verify", str(authority.path))):
            run_in(project, "dvc", "remote", "modify", "--local", "store", key, value)
        command = [sys.executable, "-m", "flows.watch"]
        failed = run_in(project, *command, check=False, MASKLINE_WEBHOOK=plain)
        served.renew(200 * DAY)
        passed = run_in(project, *command, MASKLINE_WEBHOOK=plain)
    server.shutdown()
    server.server_close()
    assert failed.returncode == 1
    assert "servers answer, certificates and keys last" in passed.stdout
    (one,) = told
    assert (one["flow"], one["state"]) == ("maskline-watch", "Failed")
    assert "DVC remote store" in one["text"]
    assert "in the last third of its 200 days" in one["text"]
