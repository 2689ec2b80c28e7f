"""Weights & Biases, and the only file that imports it.

W&B is a mirror: ``metrics.jsonl`` is the source, and a W&B error never ends a stage. An offline
run that is resumed starts a second W&B file under the same id; everything logged so far is written
into it first, so the newest file always tells the whole story.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.frame.params_reader import Section
from pipelines.frame.ranks import process_rank


class TrackingParams(Section):
    """Section ``tracking``: whether and where W&B follows a run; never a stage's params."""

    mode: Literal["offline", "online", "disabled"]
    project: str = Field(min_length=1)
    entity: str | None


class Tracker:
    """One W&B run for one stage that computes; does nothing when disabled or broken."""

    def __init__(self, params: TrackingParams, folder: Path, **identity: Any) -> None:
        """Start the run.

        Args:
            params: the ``tracking`` section.
            folder: where offline runs are kept.
            identity: ``group``, ``job_type``, ``name``, ``id`` and ``config`` of the run.
        """
        self._run: Any = None
        mode = os.environ.get("WANDB_MODE", params.mode)
        if mode != "disabled" and process_rank() == 0:
            self._safely(lambda: self._start(params, folder, mode, identity))

    @classmethod
    def of_nobody(cls) -> "Tracker":
        """One that follows nothing, whatever the variable WANDB_MODE says."""
        tracker = cls.__new__(cls)
        tracker._run = None
        return tracker

    def _start(
        self, params: TrackingParams, folder: Path, mode: str, identity: Mapping[str, Any]
    ) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=params.project,
            entity=params.entity,
            dir=folder,
            mode=mode,  # type: ignore[arg-type]
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(console="off", save_code=False),
            **identity,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, record: Mapping[str, Any]) -> None:
        """Send one record; its x axis is the key ``step``."""
        if self._run is not None:
            self._safely(lambda: self._run.log(dict(record)))

    def log_table(self, step: int, name: str, rows: Sequence[Mapping[str, str]]) -> None:
        """Send a table of texts; all rows have the same columns."""
        if self._run is not None and rows:
            self._safely(lambda: self._log_table(step, name, rows))

    def _log_table(self, step: int, name: str, rows: Sequence[Mapping[str, str]]) -> None:
        import wandb

        table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        self._run.log({"step": step, name: table})

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        """Write the summary and close the run."""
        if self._run is None:
            return
        self._safely(lambda: self._run.summary.update(dict(summary)))
        self._safely(lambda: self._run.finish(exit_code=exit_code))
        self._run = None

    def _safely(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            print(f"warning: W&B is off for the rest of this stage ({error})", file=sys.stderr)
            self._run = None
