"""Append-only JSON lines: what a stage measured, as it goes.

``metrics.jsonl`` and ``samples.jsonl`` of a run folder hold only what params, data and code
determine; ``timings.jsonl`` holds seconds, speeds and bytes. The first two end up in an out, the
last never.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from pipelines.frame.files import finite

_APPENDING = Lock()


class Records:
    """A JSON-lines file that survives a kill with at most its last line damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record and hand it to the operating system; from any thread."""
        line = json.dumps(finite(dict(record))) + "\n"
        with _APPENDING, self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def sync(self) -> None:
        """Force everything written so far onto the disk."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All complete records, in order; a half-written last line is left out."""
        if not self.path.exists():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind(self, step: int) -> None:
        """Drop records of later steps than ``step``: the resumed run writes them again."""
        kept = [record for record in self.read() if record.get("step", 0) <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(
            "".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8"
        )
        temporary.replace(self.path)
