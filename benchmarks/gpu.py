"""All there is to measure on one GPU, against what users would take instead, in five minutes.

    python -m benchmarks.gpu                                every case
    python -m benchmarks.gpu --only bert_128 search_128     some of them
    python -m benchmarks.gpu --accelerator cpu --tiny       that it works, where there is no GPU

Each case is a process of its own with a time limit, the most telling first; what it has measured is
printed as it ends, or when its time is up; cases that were not reached are named. Compiling takes
most of the time: what was compiled is kept, so a second call reaches further. Needs torch,
lightning, pydantic, ruamel.yaml, numpy, tqdm, psutil and, for the peers, transformers; neither
Prefect nor DVC nor W&B.

Ours runs as the product does, in deterministic mode with exact resume, compiled; peers run in their
fastest one. Both sides are given the same batches in bf16, with fused AdamW and clipping at 1, and
are timed over many steps between two waits for the device. Padding does not count as tokens. The
peak is the data sheet's for dense bf16 products on an H100 or H200; ``--peak-tflops`` for others.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict

import torch

from benchmarks import gpu_training, search_speed, start_up
from benchmarks.results import Row, write

Case = Callable[[argparse.Namespace], Iterable[Row]]
CASES: dict[str, tuple[Case, float]] = {
    "bert_128": (gpu_training.bert_128, 240),
    "bert_128_without_attention_dropout": (gpu_training.bert_128_without_attention_dropout, 200),
    "search_128": (search_speed.small, 60),
    "finetuning_128": (gpu_training.finetuning, 90),
    "bert_512_packed": (gpu_training.bert_512_packed, 150),
    "search_512": (search_speed.wide, 60),
    "bert_large_512": (gpu_training.bert_large_512, 200),
    "start": (start_up.first_update, 120),
}
_MARK = "row "


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--accelerator", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--tiny", action="store_true", help="sizes to see that it works")
    parser.add_argument("--steps", type=int, default=40, help="that are timed")
    parser.add_argument("--workers", type=int, default=4, help="loader processes")
    parser.add_argument("--eager", action="store_true", help="ours not compiled")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all cases together")
    parser.add_argument("--peak-tflops", type=float, default=989.5)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.accelerator == "gpu" and not torch.cuda.is_available():
        print(
            "error: no CUDA device found; run this where there is one, or with --accelerator cpu",
            file=sys.stderr,
        )
        return 2
    if arguments.case:
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore")
        for row in CASES[arguments.case][0](arguments):
            print(_MARK + json.dumps(asdict(row)), flush=True)
        return 0
    return _all(arguments)


def _all(arguments: argparse.Namespace) -> int:
    """Every case in a process of its own; 1 if one failed or took too long."""
    rows: list[Row] = []
    failed, ends = 0, time.monotonic() + 60 * arguments.minutes
    for name in arguments.only:
        if (left := min(CASES[name][1], ends - time.monotonic())) < 10:
            print(f"NOT REACHED  {name}", flush=True)
            continue
        started = time.monotonic()
        code, printed = _run([*sys.argv[1:], "--case", name], left)
        found = [
            Row(**json.loads(line.removeprefix(_MARK)))
            for line in printed.splitlines()
            if line.startswith(_MARK)
        ]
        rows += found
        failed += code != 0
        verdict = f"FAILED ({code})" if code else "measured"
        print(f"{verdict}  {name}  {time.monotonic() - started:.0f} s", flush=True)
        for row in found:
            print(f"  {row.case}: {row.ours:,.4g} {row.unit}, {row.ratio:.2f} x {row.peer}")
        if code:
            print(printed.strip()[-1500:], flush=True)
    if not arguments.tiny:
        write("gpu", rows)
    return int(failed > 0)


def _run(arguments: list[str], limit: float) -> tuple[int, str]:
    """Exit code of one case and what it printed; 124 for one that took too long."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            env={**os.environ, "TORCHINDUCTOR_DETERMINISTIC": "1"},  # as the product runs
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return 124, (error.stdout or b"").decode()
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
