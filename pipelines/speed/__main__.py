"""What limits a training here: ``python -m pipelines.speed bert``, ``… seq2seq gru``,
``… classification TASK``; ``make speed`` takes bert, or what ``OF`` names.

A dozen updates of the training that params.yaml describes, thrown away afterwards; the data of the
stages before it must be there. Says how fast it is, and what would make it faster, in words.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from pipelines.frame.errors import EXIT_BAD_INPUT, MasklineError
from pipelines.frame.hardware import Hardware, limit_threads, settle_compiler
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.run_folder import RUNS
from pipelines.frame.trials import TRAININGS, declared, set_up


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=TRAININGS)
    parser.add_argument("item", nargs="?", help="the architecture or task")
    parser.add_argument("--updates", type=int, default=12, help="to measure (12)")
    arguments = parser.parse_args()
    try:
        return _try(arguments)
    except KeyboardInterrupt:
        return 130
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


def _try(arguments: argparse.Namespace) -> int:
    params_file = read_params()
    hardware = validate(params_file, "hardware", Hardware)
    limit_threads(hardware.num_threads)
    settle_compiler(RUNS / "compiled", deterministic=hardware.deterministic)
    stage = declared(params_file, arguments.stage, arguments.item)
    with tempfile.TemporaryDirectory() as folder:
        training = set_up(params_file, stage, hardware, Path(folder))
        from pipelines.speed.causes import told
        from pipelines.speed.measure import measure

        found = measure(*training, updates=arguments.updates)
    if found is not None:
        print(told(stage.instance, found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
