"""The one form of a benchmark's result: rows of ours against theirs, with the machine they were
taken on.
"""

import datetime
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One case. ``ratio`` > 1 means ours is better.

    Attributes:
        peer: whom or what ours is measured against.
        goal: the ratio to reach, 0 if none is set.
    """

    case: str
    unit: str
    ours: float
    peer: str
    theirs: float
    ratio: float
    goal: float


def write(name: str, rows: Sequence[Row]) -> Path:
    """Print a table and write ``benchmarks/results/NAME.json``."""
    print(f"{'case':34} {'unit':>6} {'ours':>10} {'theirs':>10}  {'ratio':>6}  peer")
    for row in rows:
        print(
            f"{row.case:34} {row.unit:>6} {row.ours:10.2f} {row.theirs:10.2f}  {row.ratio:6.2f}  "
            f"{row.peer}"
        )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {
        "machine": _machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
    return path


def _machine() -> str:
    """Cores and model of the processor, and the GPU if there is one."""
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        found = re.search(
            r"^model name\s*: (.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE
        )
        model = found[1] if found else model
    gpus = {torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())}
    return ", ".join([f"{os.cpu_count()} cores of {model}", *sorted(gpus)])


def _commit() -> str:
    """The checkout's commit; empty where there is no git or no repository."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=RESULTS.parent, check=False
    ).stdout.strip()
