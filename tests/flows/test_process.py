"""Processes of a flow: stopped with all they started, killed when they do not listen, never left
behind.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from flows.process import Children, TimeLimitReached
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _gone(pid: int, within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    return not _alive(pid)


def test_children_stop_ends_a_process_with_all_it_started():
    children, lines = Children(), []
    script = (
        "import os, subprocess, time; p = subprocess.Popen(['sleep', '60']); print(os.getpid(), "
        "p.pid, flush=True);"
        "time.sleep(60)"
    )
    thread = threading.Thread(
        target=lambda: children.run([sys.executable, "-c", script], lines.append, {})
    )
    thread.start()
    while not lines:
        time.sleep(0.01)
    children.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert all(_gone(int(pid)) for pid in lines[0].split())
    with pytest.raises(RuntimeError, match="the flow is stopping"):
        children.run(["true"], lines.append, {})


def test_a_process_whose_lines_cannot_be_taken_is_ended_and_may_save():
    script = (
        "import os, signal, sys, time\n"
        "def save(number, frame):\n"
        "    print('saving', 'x' * 200_000, flush=True); open(sys.argv[1], 'w').close(); "
        "sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "while True: print(os.getpid(), flush=True); time.sleep(0.01)\n"
    )
    pids = []

    def refuse(line: str) -> None:
        pids.append(int(line))
        raise OSError("no space left")

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "saved")
        with pytest.raises(OSError, match="no space left"):
            Children().run([sys.executable, "-c", script, str(saved)], refuse, {})
        assert _gone(pids[0])
        assert saved.exists()


def test_children_die_with_a_killed_flow():
    script = (
        "import sys; from flows.process import Children;"
        "Children().run([sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); "
        "time.sleep(60)'],"
        "lambda line: print(line, flush=True), {})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _gone(child)


def test_children_that_do_not_listen_are_killed_after_the_grace():
    children, lines = Children(grace_s=0.5), []
    script = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "deaf = 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
        "time.sleep(60)';"
        "p = subprocess.Popen([sys.executable, '-c', deaf], stdout=subprocess.PIPE); "
        "p.stdout.readline();"
        "print(os.getpid(), p.pid, flush=True); time.sleep(60)"
    )
    codes: list[int] = []
    command = [sys.executable, "-c", script]
    thread = threading.Thread(target=lambda: codes.append(children.run(command, lines.append, {})))
    thread.start()
    while not lines:
        time.sleep(0.01)
    children.stop()
    thread.join(timeout=60)
    assert codes == [-signal.SIGKILL]
    assert all(_gone(int(pid)) for pid in lines[0].split())


def test_a_time_limit_ends_a_process_with_all_it_started():
    children, lines = Children(grace_s=0.5), []
    script = (
        "import os, subprocess, time; p = subprocess.Popen(['sleep', '60']); print(os.getpid(), "
        "p.pid, flush=True);"
        "time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(TimeLimitReached, match="ran longer than 1 s and was ended"):
        children.run([sys.executable, "-c", script], lines.append, {}, limit_s=1.0)
    assert time.monotonic() - started < 20
    assert all(_gone(int(pid)) for pid in lines[0].split())
    assert children.run([sys.executable, "-c", "print(1)"], lines.append, {}, limit_s=60.0) == 0


def test_a_progress_bar_is_one_line_in_the_folder_it_runs_in(tmp_path):
    lines: list[str] = []
    script = (
        "import os, sys; sys.stdout.write('1 %\\r2 %\\r3 %\\n'); print(os.getcwd(), "
        "os.environ['GIVEN'])"
    )
    environment = {"GIVEN": "yes", "PYTHONPATH": str(ROOT)}
    assert (
        Children().run([sys.executable, "-c", script], lines.append, environment, folder=tmp_path)
        == 0
    )
    assert lines == ["3 %", f"{tmp_path} yes"]


@pytest.mark.parametrize("killed", [False, True])
def test_a_flow_with_a_server_of_its_own_ends_when_it_is_through_whatever_happens_to_the_server(
    tmp_path, killed
):
    """At exit Prefect's queues of logs and events would wait for a server that is gone: many
    minutes.
    """
    script = (
        "import flows.environment, psutil, sys\n"
        "from prefect import flow\n"
        "from flows.server import temporary_server\n"
        "@flow\n"
        "def nothing() -> None:\n"
        "    print('told')\n"
        "    if sys.argv[1] == 'True':\n"
        "        psutil.Process().children()[0].kill()\n"
        "with temporary_server(): nothing.with_options(log_prints=True)()\n"
        "print('through')\n"
    )
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-c", script, str(killed)]
    found = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("through\n")
    assert "Finished in state Completed()" in found.stderr
