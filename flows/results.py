"""What the last run was about, its page and the results table: ``python -m flows.results``."""

import sys

from pipelines.frame.errors import exit_code
from pipelines.frame.params_reader import read_params
from pipelines.params.kept import changes_now
from pipelines.report.page import write_page
from pipelines.report.table import main as print_table


def results() -> int:
    """Write the page, print the others; the exit code of the table."""
    params = read_params()
    raw, source, target = (
        params.get(f"corpus.{key}") for key in ("raw", "source_language", "target_language")
    )
    changes, edited = changes_now()
    what = [*dict.fromkeys(changes), *(["edits"] if edited else [])] or ["no recipe"]
    print(f"\n{raw}, {source} → {target}, {', '.join(what)}", flush=True)
    write_page()
    return print_table()


if __name__ == "__main__":
    sys.exit(exit_code(results))
