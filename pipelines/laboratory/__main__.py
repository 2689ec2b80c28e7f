"""Optimizers on equal terms: ``make optimizers``, or ``python -m pipelines.laboratory``.

The same small BERT, then the same small Transformer, trained by each optimizer over a grid of
learning rates: as many rows for each, three seeds, a linear schedule, no clipping. What is there
already is not trained again, so it may be stopped at any time. The data of this checkout's shards
must be there. Writes ``.runs/optimizers/``: numbers, pictures, and the ways optimizers take on
functions of two numbers.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.frame.errors import EXIT_BAD_INPUT, MasklineError, ParamsError
from pipelines.frame.files import digest, write_json
from pipelines.frame.hardware import Hardware, limit_threads
from pipelines.frame.params_reader import plain, read_params, validate
from pipelines.frame.run_folder import RUNS
from pipelines.laboratory.contestants import CONTESTANTS
from pipelines.laboratory.runs import Job, train
from pipelines.laboratory.summary import Results, best_of, table

_SEEDS = 3


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8192, help="that each training sees (8192)")
    parser.add_argument("--pool", type=int, default=1024, help="different rows there are (1024)")
    parser.add_argument("--rates", type=int, default=5, help="learning rates of each (5)")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help=f"({_SEEDS})")
    parser.add_argument("--only", nargs="*", default=list(CONTESTANTS), help="these optimizers")
    parser.add_argument("--finalists", type=int, default=5, help="that train a Transformer (5)")
    arguments = parser.parse_args()
    try:
        _compare(arguments)
    except KeyboardInterrupt:
        print("stopped; start again to go on", file=sys.stderr)
        return 130
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def _compare(arguments: argparse.Namespace) -> None:
    if unknown := [name for name in arguments.only if name not in CONTESTANTS]:
        known = ", ".join(CONTESTANTS)
        raise ParamsError(f"--only ({unknown[0]}) must be one of {known}; correct it")
    params_file = read_params()
    hardware = validate(params_file, "hardware", Hardware)
    limit_threads(1)
    shards = Path("data/shards/manifest.json")
    if not shards.is_file():
        raise ParamsError(f"{shards}: must be there; make run makes it")
    settled = {**plain(params_file.root), "shards": shards.read_text(encoding="utf-8")}
    shown = {key: settled[key] for key in ("seed", "bert", "seq2seq", "shards")}
    budget = f"{arguments.rows}-{arguments.pool}"
    folder = RUNS / "optimizers" / f"{digest(shown)[:12]}-{budget}"
    folder.mkdir(parents=True, exist_ok=True)
    processes = max(1, hardware.num_threads)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        first = _run(_jobs("bert", arguments.only, arguments), folder, pool)
        finalists = best_of(first, arguments.finalists)
        second = _run(_jobs("transformer", finalists, arguments), folder, pool)
    for results in (first, second):
        if results:
            print("\n" + table(results))
    from pipelines.laboratory.noise import noise_by_batch
    from pipelines.laboratory.pictures import draw_all

    noise = noise_by_batch(seed=1)
    said = ", ".join(f"{noise[size]:.2g} of {size} rows" for size in noise)
    print(f"\nvariance of BERT's first gradient by its mean squared: {said}")
    write_json(folder / "noise.json", noise)
    drawn = draw_all({"bert": first, "transformer": second}, noise, folder)
    print(f"\n{len(drawn)} pictures and all numbers: {folder}")


def _jobs(model: str, names: Sequence[str], arguments: argparse.Namespace) -> list[Job]:
    return [
        Job(model, name, rate, seed, arguments.rows, arguments.pool)
        for seed in range(1, arguments.seeds + 1)
        for name in names
        for rate in CONTESTANTS[name].rates(arguments.rates)
    ]


def _run(jobs: list[Job], folder: Path, pool: Any) -> Results:
    """Train what is not there yet, in processes of one thread each; all results."""
    missing = [job for job in jobs if not job.path(folder).is_file()]
    done = pool.imap_unordered(partial(train, folder=folder), missing)
    for number, result in enumerate(done, start=1):
        print(
            f"{number}/{len(missing)}  {result['model']}  {result['contestant']}  "
            f"rate {result['rate']:.3g}  seed {result['seed']}  loss {result['loss']:.3f}  "
            f"{result['seconds']:.1f} s",
            flush=True,
        )
    return [json.loads(job.path(folder).read_text(encoding="utf-8")) for job in jobs]


if __name__ == "__main__":
    sys.exit(main())
