"""Fixtures: a copy of the project with tiny params, run once by real DVC."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent
QUIET = {
    "WANDB_MODE": "offline",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}
os.environ.update(QUIET)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests are many small computations
_LONG = ("test_resume.py", "test_distributed.py")
Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--corpora", default="", help="folder with multi30k/ for tests marked corpora")
    parser.addoption(
        "--pictures", default="", help="folder for what the browser of tests marked browser shows"
    )


def run_in(
    folder: Path, *command: str, check: bool = True, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and keep what it printed."""
    # flows sets it, per checkout
    inherited = {key: value for key, value in os.environ.items() if key != "PREFECT_HOME"}
    result = subprocess.run(
        command,
        cwd=folder,
        env={**inherited, **environment},
        input=typed,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if check:
        assert result.returncode == 0, (
            f"{command} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
    return result


def copy_project(folder: Path) -> Path:
    """The project's own files as a fresh git and DVC checkout, with tiny params applied."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pipelines", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data/raw/embedded", folder / "data/raw/embedded")
    for name in (
        "params.yaml",
        "dvc.yaml",
        "prefect.yaml",
        ".gitignore",
        ".dvcignore",
        "tests/params.tiny.yaml",
    ):
        shutil.copy(ROOT / name, folder / Path(name).name)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    run_in(folder, "git", "init", "-q")
    run_in(folder, "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    run_in(folder, sys.executable, "-m", "pipelines.params", "apply", "params.tiny.yaml")
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-qm", "tiny")
    return folder


@pytest.hookimpl(trylast=True)  # after those that are not asked for are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: each of two processes begins with a half and then takes from the other's
    end, so what is left at the end should be short.

    Trainings that are killed take longest; tests of the reproduced project come next, so that one
    process makes it while the other does the rest.
    """
    if any(item.get_closest_marker("reliability") for item in items):
        return  # those stand in the order of the command

    def order(item: pytest.Item) -> int:
        if item.path.name in _LONG:
            return 0
        return 1 if "reproduced" in getattr(item, "fixturenames", ()) else 2

    items.sort(key=order)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A training in this process takes all cores, which would slow every test after it."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _of_ranks() -> dict[str, str]:
    begin = ("MASKLINE_NODE", "MASKLINE_MACHINES", "MASTER_", "NODE_RANK", "SLURM_", "TORCHELASTIC")
    return {name: value for name, value in os.environ.items() if name.startswith(begin)}


@pytest.fixture(autouse=True)
def no_rank_stays() -> Iterator[None]:
    """Every later training of this process would take itself for a rank of that test's."""
    before = _of_ranks()
    yield
    assert _of_ranks() == before, "a test must leave the variables of ranks as it found them"


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project whose every stage has run and is DVC's, the same for all test processes; tests
    only look at it.

    One process runs all stages, for starting one takes ten seconds of imports; then DVC commits
    what they wrote, so `dvc repro` finds nothing to do. That DVC's own run gives the same is what
    `make run` (against dvc.lock) and `make verify` show, in CI and by hand.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reproduced"
    with FileLock(f"{shared}.lock"):
        if not (made := shared / "made").exists():
            shutil.rmtree(shared, ignore_errors=True)
            project = copy_project(shared / "project")
            script = f"from tests.whole_pipeline import run_all; run_all([{str(project)!r}])"
            environment = watched(shared)
            environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"  # after the project's own code
            run_in(project, sys.executable, "-c", script, **environment)
            run_in(project, "dvc", "commit", "--force")
            made.touch()
    return shared / "project"


def watched(folder: Path) -> dict[str, str]:
    """Variables under which Python processes write into ``folder/network`` whom they want to reach
    elsewhere.
    """
    paths = os.pathsep.join([str(ROOT / "tests/watched"), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    return {"PYTHONPATH": paths, "NETWORK_LOG": str(folder / "network"), "HF_HUB_OFFLINE": "0"}


@pytest.fixture
def reproduced_copy(reproduced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the reproduced project, its cache and run folders included, to change at will."""
    return enter_copy(reproduced, tmp_path / "project", monkeypatch)


def enter_copy(project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a project and work there until the test ends."""
    shutil.copytree(project, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def free_port() -> int:
    """A port of the loopback device that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
