"""Prefect's UI as docs/operations.md shows it to others: with a password, behind nginx with TLS.
Marked ``browser``.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.conftest import ROOT, free_port
from tests.flows.browser import Browser
from tests.flows.served import Server, inherited, served, until

pytestmark = pytest.mark.browser
PASSWORD = "me:a long password"


def _documented(certificate: Path, listens: int, serves: int) -> str:
    """The server block of the docs, with addresses and paths of this test."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    block = text.split("```nginx\n")[1].split("```")[0]
    for theirs, ours in (
        ("listen 443 ssl", f"listen 127.0.0.1:{listens} ssl"),
        ("prefect.example.org", "localhost"),
        ("/etc/ssl/prefect.pem", str(certificate)),
        ("/etc/ssl/prefect.key", str(certificate)),
        ("127.0.0.1:4200", f"127.0.0.1:{serves}"),
    ):
        assert theirs in block
        block = block.replace(theirs, ours)
    return block


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    changes = {"PREFECT_SERVER_API_AUTH_STRING": PASSWORD, "PREFECT_UI_API_URL": "/api"}
    with served(tmp_path_factory.mktemp("guarded") / "project", **changes) as one:
        yield one


@pytest.fixture(scope="module")
def address(
    guarded: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """Of nginx before it, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("nginx")
    authority = Authority(folder)
    block = _documented(authority.certificate("localhost"), port := free_port(), guarded.port)
    own = f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}"
    (folder / "nginx.conf").write_text(f"{own} http {{ access_log off; {block} }}")
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert nginx, "nginx must be installed (Debian: nginx-light)"
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        until((folder / "pid").exists, 30, (folder / "log").read_text)
        yield f"https://localhost:{port}", authority.path
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def browser(address: tuple[str, Path], request: pytest.FixtureRequest) -> Iterator[Browser]:
    opened = Browser(
        address[0], request.config.getoption("--pictures"), "--ignore-certificate-errors"
    )
    yield opened
    opened.driver.quit()


def _log_in(browser: Browser, password: str) -> None:
    field = browser.driver.find_element("css selector", "input[type=password]")
    field.clear()
    field.send_keys(password)
    browser.click("Login")


def test_nobody_sees_anything_without_the_password_and_everything_with_it(browser, guarded):
    browser.open("/deployments")
    assert browser.says("Login", "Authentication failed")
    _log_in(browser, "me:another password")
    browser.open("/deployments")
    assert browser.says("Login", "Authentication failed")
    assert "nightly" not in browser.driver.page_source
    browser.keep("login")
    _log_in(browser, PASSWORD)
    browser.open("/deployments")
    assert browser.says("nightly", "on-demand", "sweep")
    browser.keep("behind-tls")


def test_other_machines_reach_the_server_through_the_proxy(guarded, address):
    url, authority = address
    known = {"PREFECT_API_URL": f"{url}/api", "SSL_CERT_FILE": str(authority)}
    for password, told in (
        (PASSWORD, b""),
        ("me:another", b"PREFECT_API_AUTH_STRING (another) must be the server's"),
    ):
        found = subprocess.run(
            [sys.executable, "-m", "pipelines.preflight"],
            cwd=guarded.folder,
            env={**inherited(), **known, "PREFECT_API_AUTH_STRING": password},
            capture_output=True,
            check=False,
        )
        assert found.returncode == (2 if told else 0), found.stderr
        assert told in found.stderr
    elsewhere = Server(
        guarded.folder,
        guarded.port,
        guarded.process,
        {**known, "PREFECT_API_AUTH_STRING": PASSWORD},
    )
    assert elsewhere.wait(elsewhere.start(until="corpus"), "Completed")
