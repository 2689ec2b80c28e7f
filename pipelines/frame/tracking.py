"""Weights & Biases, and the only file that imports it.

W&B is a mirror: ``metrics.jsonl`` is the source, and a W&B error never ends a stage. An offline
run that is resumed starts a second W&B file under the same id; everything logged so far is written
into it first, so the newest file always tells the whole story.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from pipelines.frame.params_reader import Section
from pipelines.frame.ranks import process_rank

_SCALARS = (int, float, str)
_MOST_TAGS = 10
_KINDS = ("train", "valid", "table")  # of records; each step has one of a kind at most


class TrackingParams(Section):
    """Section ``tracking``: whether and where W&B follows a run; never a stage's params."""

    mode: Literal["offline", "online", "disabled"]
    project: str = Field(min_length=1)
    entity: str | None


@dataclass(frozen=True)
class Identity:
    """What a stage's run is called in W&B, kept beside its curves so that it can be told again.

    Attributes:
        id: of the run, the same for the same params, data and code.
        name: stage, and what was asked for.
        group: of the pipeline run.
        job_type: the stage.
        tags: stage, item, recipes or experiment.
        notes: the command.
        config: settings, digests of data and code, environment; no key has a dot.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: list[str]
    notes: str
    config: dict[str, Any]


class Named(Protocol):
    """A stage, as far as its name goes."""

    @property
    def name(self) -> str:
        """Of the stage."""

    @property
    def entry(self) -> str:
        """Its module."""

    @property
    def item(self) -> str | None:
        """Of stages that exist once for each."""

    @property
    def instance(self) -> str:
        """DVC's name of the instance."""


def identity_of(stage: Named, key: str, group: str, config: dict[str, Any]) -> Identity:
    """Named for what was asked for, if a flow, `make run` or DVC says so, else by the key."""
    words = (os.environ.get("MASKLINE_ASKED") or os.environ.get("DVC_EXP_NAME", "")).split()
    for digests in ("inputs", "code"):
        config[digests] = {
            Path(name).with_suffix("").as_posix(): sha for name, sha in config[digests].items()
        }
    return Identity(
        id=f"{stage.instance.replace('@', '-')}-{key[:16]}",
        name=f"{stage.instance} {' '.join(words) or key[:8]}",
        group=group,
        job_type=stage.name,
        tags=list(dict.fromkeys([stage.name, *filter(None, [stage.item]), *words]))[:_MOST_TAGS],
        notes=f"python -m {stage.entry} {stage.item or ''}".strip(),
        config=config,
    )


def nested(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted sections as sections within sections: W&B takes a dot for a level.

    >>> nested({"seed": 1, "bert.model": {"width": 8}, "bert.seed": 2})
    {'seed': 1, 'bert': {'model': {'width': 8}, 'seed': 2}}
    """
    found: dict[str, Any] = {}
    for path, value in sections.items():
        *above, last = path.split(".")
        place = found
        for name in above:
            place = place.setdefault(name, {})
        if isinstance(value, dict) and isinstance(place.get(last), dict):
            place[last] |= value
        else:
            place[last] = value
    return found


def scalars(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What of a stage's metrics is a summary: its figures and words, not its tables."""
    found: dict[str, Any] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            inner = {name: one for name, one in value.items() if isinstance(one, _SCALARS)}
            found |= {key: inner} if inner else {}
        elif isinstance(value, _SCALARS):
            found[key] = value
    return found


class Tracker:
    """One W&B run for one stage that computes; does nothing when disabled or broken."""

    def __init__(
        self, params: TrackingParams, folder: Path, identity: Identity, mode: str | None = None
    ) -> None:
        """Start the run.

        Args:
            params: the ``tracking`` section.
            folder: where offline runs are kept.
            identity: of the run.
            mode: whatever the variable WANDB_MODE and the section say.
        """
        self._run: Any = None
        self._defined: set[str] = set()
        # Kind of record → the last step that a server has, from a start before this one.
        self._logged_until: dict[str, float] = {}
        mode = mode or os.environ.get("WANDB_MODE", params.mode)
        if mode != "disabled" and process_rank() == 0:
            self._safely(lambda: self._start(params, folder, mode, identity))

    @classmethod
    def of_nobody(cls) -> "Tracker":
        """One that follows nothing, whatever the variable WANDB_MODE says."""
        tracker = cls.__new__(cls)
        tracker._run = None
        return tracker

    def _start(self, params: TrackingParams, folder: Path, mode: str, identity: Identity) -> None:
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
            **asdict(identity),
        )
        self._run.define_metric("step")
        if self._run.resumed:
            self._logged_until = {
                kind: float(self._run.summary.get(f"logged_{kind}", -1)) for kind in _KINDS
            }

    def log(self, record: Mapping[str, Any]) -> None:
        """Send one record; its x axis is the key ``step``.

        A step that the server has from a start before this one is not sent again.
        """
        kind = "valid" if any(name.startswith("valid_") for name in record) else "train"
        if self._is_new(kind, record["step"]):
            self._safely(lambda: self._log(kind, record))

    def _is_new(self, kind: str, step: float) -> bool:
        return self._run is not None and step > self._logged_until.get(kind, -1)

    def _log(self, kind: str, record: Mapping[str, Any]) -> None:
        for name in sorted(record.keys() - self._defined - {"step"}):
            self._defined.add(name)
            self._run.define_metric(name, step_metric="step", **_summary_of(name))
        self._run.log(dict(record))
        self._run.summary[f"logged_{kind}"] = record["step"]

    def log_table(self, step: int, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send a table; all rows have the same columns."""
        if rows and self._is_new("table", step):
            self._safely(lambda: self._log_table(step, name, rows))

    def _log_table(self, step: int, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import wandb

        table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        self._run.log({"step": step, name: table})
        self._run.summary["logged_table"] = step

    def log_pictures(self, folder: Path) -> None:
        """Send the SVG pictures of a folder."""
        if self._run is not None:
            self._safely(lambda: self._log_pictures(sorted(folder.glob("*.svg"))))

    def _log_pictures(self, paths: Sequence[Path]) -> None:
        import wandb

        shown = {
            one.stem: wandb.Html(one.read_text(encoding="utf-8"), inject=False) for one in paths
        }
        if shown:
            self._run.log({"step": 0, **shown})

    def log_out(
        self, name: str, kind: str, facts: Mapping[str, Any], inputs: Sequence[str]
    ) -> None:
        """Tell of an out as an artifact, by its digests alone, and online of what it is made of.

        Args:
            name: of the artifact.
            kind: of it, the stage.
            facts: digests and figures.
            inputs: artifacts that were read.
        """
        if self._run is not None:
            self._safely(lambda: self._log_out(name, kind, facts, inputs))

    def _log_out(
        self, name: str, kind: str, facts: Mapping[str, Any], inputs: Sequence[str]
    ) -> None:
        import wandb

        if not self._run.offline:
            for one in inputs:
                with contextlib.suppress(Exception):  # it was made before it was tracked
                    self._run.use_artifact(f"{one}:latest")
        self._run.log_artifact(wandb.Artifact(name, kind, metadata=dict(facts)))

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        """Write the summary and close the run."""
        if self._run is None:
            return
        self._safely(lambda: self._run.summary.update(scalars(summary)))
        self._safely(lambda: self._run.finish(exit_code=exit_code))
        self._run = None

    def _safely(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            print(f"warning: W&B is off for the rest of this stage ({error})", file=sys.stderr)
            self._run = None


def wait_until_written() -> None:
    """End W&B's service of this process: a finished offline run may still be on its way to disk."""
    import wandb

    wandb.teardown()


def _summary_of(name: str) -> dict[str, str]:
    """Which value of a curve its run is known by: of validations the best and the last one."""
    if not name.startswith("valid_"):
        return {}
    best = "min" if name.endswith(("loss", "perplexity")) else "max"
    return {"summary": f"{best},last"}
