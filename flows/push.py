"""Outs to DVC's remote, tried for a while: ``python -m flows.push``.

Each try is a process of its own, so credentials and certificates are those of that moment: what
ended during a run may be renewed after it. Outs stay in the cache whatever happens.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from pipelines.frame.errors import DataError, exit_code
from pipelines.frame.patience import patiently

PATIENCE_S = 3600.0
_NO_REMOTE = "no remote specified"


def push(folder: Path, patience_s: float = PATIENCE_S) -> str:
    """Push the outs of a checkout; what DVC says of it.

    Raises:
        DataError: there is no remote.
        CheckFailed: the last try failed too.
    """

    def once() -> str:
        command = [sys.executable, "-m", "dvc", "push"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if _NO_REMOTE in done.stderr:
            raise DataError("dvc push: a remote must be known; dvc remote add --default NAME URL")
        if done.returncode:
            raise ConnectionError(_reason(done.stderr))
        return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "pushed"

    return patiently(once, "dvc push", patience_s)


def _reason(printed: str) -> str:
    """DVC's own words for what went wrong, the cause first."""
    errors = [line.removeprefix("ERROR: ") for line in printed.splitlines() if "ERROR" in line]
    return errors[0] if errors else (printed.strip().splitlines() or ["no reason given"])[-1]


def main() -> int:
    """Push, and say so."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_S, help="seconds after which no try begins"
    )
    print(push(Path(), parser.parse_args().patience))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
