"""What limits a training here: ``python -m pipelines.speed bert``, ``… seq2seq gru``,
``… classification TASK``; ``make speed`` takes bert, or what ``OF`` names.

A dozen updates of the training that params.yaml describes, thrown away afterwards; the data of the
stages before it must be there. Says how fast it is, and what would make it faster, in words.
"""

import argparse
import dataclasses
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pipelines.frame.errors import EXIT_BAD_INPUT, MasklineError, ParamsError
from pipelines.frame.hardware import Hardware, limit_threads, settle_compiler
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.run_folder import RUNS
from pipelines.frame.stage import StageRun, trial_run

_TRAININGS = {
    "bert": ("pipelines.bert.pretrain", "pretrain", ""),
    "seq2seq": ("pipelines.seq2seq.finetune", "finetune", "seq2seq.architectures"),
    "classification": ("pipelines.classification.classify", "classify", "classification.tasks"),
}


class _Ended(BaseException):
    """The trial is over; nothing of the stage that comes after its training shall run."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=_TRAININGS)
    parser.add_argument("item", nargs="?", help="the architecture or task")
    parser.add_argument("--updates", type=int, default=12, help="to measure (12)")
    arguments = parser.parse_args()
    try:
        _try(arguments)
    except _Ended:
        return 0
    except KeyboardInterrupt:
        return 130
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    raise AssertionError("a trial ends where the training would begin")


def _try(arguments: argparse.Namespace) -> None:
    params_file = read_params()
    hardware = validate(params_file, "hardware", Hardware)
    limit_threads(hardware.num_threads)
    settle_compiler(RUNS / "compiled", deterministic=hardware.deterministic)
    name, compute, mapping = _TRAININGS[arguments.stage]
    items = list(params_file.get(mapping)) if mapping else []
    if bool(items) != bool(arguments.item) or (items and arguments.item not in items):
        rule = f"must be one of {', '.join(items)}" if items else "must be left out"
        raise ParamsError(f"{arguments.stage}: its item ({arguments.item}) {rule}")
    code: Any = import_module(name)
    stage = code.declare(params_file, *([arguments.item] if items else []))
    if missing := [path for path in stage.inputs if not path.exists()]:
        raise ParamsError(f"{stage.instance}: {missing[0]} must be there; make run makes it")

    def trial(module: Any, source: Any, run: StageRun) -> NoReturn:
        from pipelines.speed.causes import told
        from pipelines.speed.measure import measure

        found = measure(module, source, run, updates=arguments.updates)
        if found is not None:
            print(told(stage.instance, found), flush=True)
        raise _Ended

    with tempfile.TemporaryDirectory() as folder:
        run = trial_run(stage, params_file, hardware, Path(folder))
        getattr(code, compute)(dataclasses.replace(run, trial=trial))


if __name__ == "__main__":
    sys.exit(main())
