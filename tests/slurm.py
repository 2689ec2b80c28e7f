"""A SLURM cluster of two nodes on this machine: real daemons of Debian's slurm-wlm and munge."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import ROOT, free_port

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
_CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
ReturnToService=2
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=low Nodes=n[1-2] Default=YES State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n[1-2] State=UP PriorityTier=2
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"not installed: {', '.join(absent)} (slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "needs root"


class Cluster:
    """Starts the daemons; ends them by their own process ids.

    Args:
        folder: for their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        (folder / "state").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        config = folder / "slurm.conf"
        ports = [free_port() for _ in range(3)]
        host = socket.gethostname().partition(".")[0]
        config.write_text(_CONFIG.format(folder=folder, host=host, ports=ports))
        self.environment = {**os.environ, "SLURM_CONF": str(config)}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Cluster":
        files = (f"--{kind}={self.folder}/munge.{end}" for kind, end in (
            ("socket", "sock"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"),
            ("seed-file", "seed"),
        ))  # fmt: skip
        self._start("munged", "--foreground", "--force", *files)
        time.sleep(1)
        self._start("slurmctld", "-D")
        time.sleep(1)
        for node in ("n1", "n2"):
            self._start("slurmd", "-D", "-N", node)
        try:
            self.wait(
                lambda: set(self.ask("sinfo", "-h", "-o", "%t %D").split()) == {"idle", "2"}, 60
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("scancel", "--user=root")
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def _start(self, *command: str) -> None:
        with (self.folder / "daemons.log").open("a") as log:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            )

    def ask(self, *command: str, folder: Path = Path()) -> str:
        """What a command of SLURM prints."""
        result = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False
        )
        return (result.stdout + result.stderr).strip()

    def submit(self, folder: Path, script: str, *options: str) -> str:
        """A job's number; what it prints goes to ``job-<number>.log``."""
        (folder / "job.sh").write_text(script)
        told = self.ask(
            "sbatch", "--parsable", "--open-mode=append", "--output=job-%j.log", *options, "job.sh",
            folder=folder,
        )  # fmt: skip
        assert told.isdecimal(), told
        return told

    def state(self, job: str) -> str:
        """RUNNING, PENDING, COMPLETED, FAILED, …"""
        fields = self.ask("scontrol", "show", "job", job).split()
        return next(field[9:] for field in fields if field.startswith("JobState="))

    def wait(self, happened: object, limit_s: float) -> None:
        """Until something has happened."""
        deadline = time.monotonic() + limit_s
        while not happened():  # type: ignore[operator]
            assert time.monotonic() < deadline, self.ask("scontrol", "show", "job")
            time.sleep(0.2)


def job_of_the_docs() -> str:
    """The script in docs/scale.md, without GPUs, in this environment."""
    page = (ROOT / "docs/scale.md").read_text("utf-8")
    script = page.partition("```bash\n")[2].partition("```")[0]
    assert "--gpus-per-node=8 --exclusive " in script  # this cluster has neither to give
    assert "source .venv/bin/activate\n" in script
    meet = "export MASTER_ADDR=127.0.0.1 WANDB_MODE=disabled PYTHONUNBUFFERED=1\n"
    return script.replace("--gpus-per-node=8 --exclusive ", "").replace(
        "source .venv/bin/activate\n", meet
    )
