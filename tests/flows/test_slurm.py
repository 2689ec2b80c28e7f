"""A run as a SLURM job on two nodes, by the script of docs/scale.md, with real daemons."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import enter_copy
from tests.machines import expected_and_project, same
from tests.slurm import Cluster, job_of_the_docs, missing

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(missing()), reason=missing())]
_MINUTE = 60


@pytest.fixture(scope="module")
def prepared(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return expected_and_project(reproduced, tmp_path_factory.mktemp("machines"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture
def project(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(prepared / "project", tmp_path / "project", monkeypatch)


class Job:
    """A run of one stage as the docs' job."""

    def __init__(self, cluster: Cluster, project: Path, *options: str) -> None:
        self.cluster = cluster
        script = job_of_the_docs().replace("flows.repro\n", "flows.repro bert\n")
        self.number = cluster.submit(project, script, *options)
        self._log = project / f"job-{self.number}.log"

    def printed(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, text: str, limit_s: float = 180) -> None:
        self.cluster.wait(lambda: text in self.printed(), limit_s)

    def went_on(self) -> bool:
        """Whether it has ended, after going on from a checkpoint."""
        self.wait_for_end()
        return "going on after update" in self.printed()

    def wait_for_end(self, limit_s: float = 180) -> None:
        """Until it is completed. SLURM lets a job that is queued again wait for two minutes; not
        here.
        """

        def ended() -> bool:
            state = self.cluster.state(self.number)
            if state == "PENDING":
                self.cluster.ask("scontrol", "update", f"JobId={self.number}", "StartTime=now")
            return state == "COMPLETED"

        self.cluster.wait(ended, limit_s)


def test_a_job_runs_to_its_end(cluster, project, prepared):
    job = Job(cluster, project)
    job.wait_for_end()
    assert "bert: joins as machine 2 of 2" in job.printed()
    same(prepared / "expected", "bert")


def test_a_job_that_is_preempted_goes_on_when_there_is_room(cluster, project, prepared):
    job = Job(cluster, project)
    job.wait_for("update 12/40")
    urgent = cluster.submit(
        project, "#!/bin/bash\nsleep 5\n", "--partition=high", "--nodes=2", "--exclusive"
    )
    job.wait_for("stopped: checkpoint saved after update", _MINUTE)
    cluster.wait(lambda: cluster.state(urgent) == "COMPLETED", 2 * _MINUTE)
    assert job.went_on()
    same(prepared / "expected", "bert")


@pytest.mark.parametrize("way", ["signal before the time limit", "requeue"])
def test_a_job_that_is_stopped_goes_on(cluster, project, prepared, way):
    job = Job(cluster, project)
    job.wait_for("update 12/40")
    if way == "requeue":
        assert cluster.ask("scontrol", "requeue", job.number) == ""
    else:
        assert cluster.ask("scancel", "--signal=TERM", job.number) == ""
        job.wait_for("stopped: checkpoint saved after update", _MINUTE)
    assert job.went_on()
    same(prepared / "expected", "bert")


def test_a_node_that_is_gone_ends_the_job_and_another_goes_on(cluster, project, prepared):
    """All that the second node's step has started is killed."""
    job = Job(cluster, project)
    job.wait_for("update 12/40")
    (second,) = [
        one
        for one in psutil.process_iter(["pid"])
        if _variable(one, "SLURM_JOB_ID") == job.number
        and _variable(one, "SLURM_PROCID") == "1"
        and "flows.nodes" in one.cmdline()
    ]
    for one in (second, *second.children(recursive=True)):
        os.kill(one.pid, signal.SIGKILL)
    job.wait_for("start again to go on", _MINUTE)
    cluster.wait(lambda: cluster.state(job.number) == "FAILED", _MINUTE)
    assert Job(cluster, project).went_on()
    same(prepared / "expected", "bert")


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None
