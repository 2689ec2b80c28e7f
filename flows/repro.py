"""``dvc repro`` for people: without DVC's advice to them, and with a stop that is no error.

What other params left under data is set aside first, so that DVC finds in its cache all it has.

python -m flows.repro [arguments of dvc repro]
"""

import logging
import os
import sys
from typing import Any

from dvc.cli import main as dvc
from dvc.ui import ui

from flows.dvc_words import is_advice
from pipelines.frame.errors import EXIT_PREEMPTED, exit_code
from pipelines.frame.left_overs import set_aside
from pipelines.frame.params_reader import read_params
from pipelines.frame.processes import exclusive
from pipelines.frame.run_folder import RUN_LOCK, RUNS
from pipelines.params.kept import changes_now

_STOPPED = f"exited with {EXIT_PREEMPTED}"


class _ForPeople(logging.Filter):
    """Leaves out advice, and what DVC says of a stage that has stopped as it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        while error:  # the exit code is told by the cause
            text, error = f"{text} {error}", error.__cause__
        self.stopped |= _STOPPED in text
        return not (_STOPPED in text or is_advice(text))


def repro(arguments: list[str]) -> int:
    """Run ``dvc repro``; 75 if a stage was told to stop, else DVC's exit code.

    Raises:
        BusyError: another one works in this checkout.
    """
    shown, write = _ForPeople(), ui.write

    def quieter(*texts: Any, **options: Any) -> None:
        if not any(is_advice(str(text)) for text in texts):
            write(*texts, **options)

    ui.write = quieter
    for handler in logging.getLogger("dvc").handlers:
        handler.addFilter(shown)
    with exclusive(RUN_LOCK, patience_s=0):
        if moved := set_aside(read_params()):
            print(f"set aside in {RUNS}/left_overs, for later: {', '.join(moved)}", flush=True)
        os.environ["MASKLINE_ASKED"] = " ".join(dict.fromkeys(changes_now()[0]))
        code: int = dvc(["repro", *arguments])
    return EXIT_PREEMPTED if shown.stopped else code


if __name__ == "__main__":
    sys.exit(exit_code(lambda: repro(sys.argv[1:])))
