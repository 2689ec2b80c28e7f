"""Experiments side by side, for a terminal: ``python -m flows.compare``.

One column each, the newest first, and one row for each setting and score that differs among them.
``dvc exp show`` has a column for each of these, and for digests besides.
"""

import sys
from typing import Any

import dvc.api
from dvc.exceptions import DvcException

from pipelines.report.table import render

_SHOWN = 5  # experiments
_WIDEST = 18  # letters of a value
_SCORES = ("mlm", "nsp", "bleu.", "chrf.")


def columns() -> dict[str, dict[str, Any]]:
    """Experiment → setting or score → value; of those that have scores.

    Raises:
        DvcException: this is no checkout, or a run is at work.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in dvc.api.exp_show():
        name = row.get("Experiment") or row.get("rev") or "workspace"
        values = {key: value for key, value in row.items() if _wanted(key, value)}
        if any(_is_score(key) for key in values):
            found.setdefault(str(name)[:_WIDEST], values)
    return dict(list(found.items())[:_SHOWN])


def _wanted(key: str, value: Any) -> bool:
    """Settings and scores: neither digests of files nor what DVC says of itself, nor its signs for
    what it could not read.
    """
    if _is_score(key):
        return isinstance(value, int | float)
    return value is not None and "." in key and "/" not in key


def _is_score(key: str) -> bool:
    return key in _SCORES or key.startswith(_SCORES[2:])


def table(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Rows of what differs: settings first, then scores."""
    keys = list(dict.fromkeys(key for values in found.values() for key in values))
    keys.sort(key=_is_score)
    rows = [["", *found]]
    for key in keys:
        cells = [_shown(values.get(key), score=_is_score(key)) for values in found.values()]
        if len(set(cells)) > 1:
            rows.append([key, *cells])
    return rows


def _shown(value: Any, *, score: bool) -> str:
    """Scores to two digits; DVC gives whole numbers of settings as 3.0."""
    if value is None:
        return "–"
    text = f"{value:.2f}" if score else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def main() -> int:
    """Print the table; the exit code."""
    try:
        found = columns()
    except DvcException as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = table(found)
    if len(found) < 2:
        print("nothing to compare yet: `dvc exp save --name first` keeps what is here, then")
        print("`dvc exp run -S KEY=VALUE`, or other params and `make run`")
    elif len(rows) == 1:
        print(f"{', '.join(found)}: no setting and no score differs")
    else:
        print(render(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
