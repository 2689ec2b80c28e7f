"""Wall time and peak memory of every stage, from an empty cache, against the project's budgets.

    python -m benchmarks.pipeline                      the embedded corpus, all stages
    python -m benchmarks.pipeline --recipe multi30k    real text, its first three stages

Runs in a throw-away copy of the checkout, so nothing of yours is touched and nothing is cached.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.checkout import copy_checkout
from benchmarks.results import Row, write

_WHOLE_RUN_S, _PREPARATION_S, _PREPARATION_MIB = 360.0, 90.0, 1536.0


def measure(recipe: str | None, folder: Path) -> list[Row]:
    """Run in ``folder`` and compare with the budgets."""
    copy_checkout(folder)
    stages = ["shards"] if recipe else []
    if recipe:
        apply = [
            sys.executable,
            "-m",
            "pipelines.params",
            "apply",
            f"recipes/{recipe}.yaml",
        ]
        subprocess.run(apply, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    started = time.perf_counter()
    subprocess.run(["dvc", "repro", *stages], cwd=folder, check=True)
    seconds = time.perf_counter() - started
    costs = _costs(folder)
    rows = [
        _row(f"{name}: seconds", "s", cost["seconds"], 0.0, "–") for name, cost in costs.items()
    ]
    rows += [
        _row(f"{name}: peak memory", "MiB", cost["peak_mib"], 0.0, "–")
        for name, cost in costs.items()
    ]
    peak = max(cost["peak_mib"] for cost in costs.values())
    if recipe:
        rows.append(_row("preparation: peak memory", "MiB", peak, _PREPARATION_MIB, "budget"))
    budget = _PREPARATION_S if recipe else _WHOLE_RUN_S
    name = "preparation: seconds" if recipe else "all stages and DVC: seconds"
    rows.append(_row(name, "s", seconds, budget, "budget"))
    return rows


def _costs(folder: Path) -> dict[str, dict[str, float]]:
    """Stage instance → what its run folder timed; read by the project's own code, in the copy."""
    costs = {}
    for path in sorted(
        (folder / ".runs").glob("*/*/timings.jsonl"), key=lambda path: path.stat().st_mtime
    ):
        costs[path.parent.parent.name] = json.loads(
            path.read_text(encoding="utf-8").splitlines()[-1]
        )
    return costs


def _row(case: str, unit: str, ours: float, budget: float, peer: str) -> Row:
    return Row(case, unit, ours, peer, budget, budget / ours, 1.0 if budget else 0.0)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", help="a name in recipes/, for its data preparation")
    recipe = parser.parse_args().recipe
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(recipe, Path(folder))
    write(f"pipeline_{recipe}" if recipe else "pipeline", rows)


if __name__ == "__main__":
    main()
