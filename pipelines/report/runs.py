"""Runs that can be compared: the checkout, commits and branches, DVC's experiments, worktrees.

| given | what it is |
|---|---|
| ``.`` | this checkout as it stands |
| a folder | another checkout, such as the worktree of a flow's experiment |
| a name below ``.runs/experiments`` | the worktree of that name |
| a name of ``dvc exp`` | that experiment |
| what git resolves | a commit, a branch, a tag |
| ``sweep/<name>`` | each experiment of that sweep |
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.frame.errors import DataError, ParamsError, broken_rule
from pipelines.frame.records import Records
from pipelines.frame.run_folder import EXPERIMENTS, RUNS, home

_WHERE = "compare"


@dataclass(frozen=True)
class Run:
    """What one run computed, wherever it lies.

    Attributes:
        name: as it was given; of a folder its last part, of this checkout ``here``.
        read: bytes of a file by its path in a checkout, outs of DVC among them.
    """

    name: str
    read: Callable[[str], bytes]

    @cached_property
    def params(self) -> dict[str, Any]:
        """Its params.yaml, in leaves by dotted key."""
        return dict(_leaves(self._yaml("params.yaml")))

    @cached_property
    def sections(self) -> dict[str, Any]:
        """Its params.yaml."""
        return self._yaml("params.yaml")

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Code and raw data → digest, as its dvc.lock has them."""
        found: dict[str, str] = {}
        for entry in self._yaml("dvc.lock").get("stages", {}).values():
            for dep in entry.get("deps", ()):
                if not dep["path"].startswith("data/") or dep["path"].startswith("data/raw"):
                    found[dep["path"]] = str(dep.get("md5", ""))[:12]
        return found

    @cached_property
    def measured(self) -> dict[str, Any]:
        """What its stage ``evaluation`` measured."""
        found: dict[str, Any] = self.json("data/evaluation/metrics.json")["evaluation"]
        return found

    @cached_property
    def bert(self) -> dict[str, float]:
        """Held-out accuracies of its BERT, in percent."""
        found = self.json("data/bert/metrics.json")["bert"]
        return {
            task: 100 * found[f"valid_{task}_accuracy"]
            for task in ("mlm", "nsp")
            if f"valid_{task}_accuracy" in found
        }

    @property
    def systems(self) -> list[str]:
        """Its architectures and ensembles."""
        return list(self.measured["architectures"])

    @property
    def leading(self) -> str:
        """The metric to look at first."""
        return str(self.measured["leading"])

    def beam(self, system: str) -> Mapping[str, Any]:
        """Scores of a system's beam."""
        found: Mapping[str, Any] = self.measured["architectures"][system]["beam"]
        return found

    def translations(self, system: str) -> list[str]:
        """Of the test set."""
        return self.lines(f"data/decoding/{system}/beam.txt")

    def test_set(self) -> tuple[list[str], list[str]]:
        """Sources and references."""
        source, target = (
            self.lines(f"data/corpus/pairs.test.{self.params[f'corpus.{side}_language']}.txt")
            for side in ("source", "target")
        )
        return source, target

    @cached_property
    def test_digest(self) -> str:
        """Of sources and references: runs with another one are not paired."""
        return hashlib.sha256(json.dumps(self.test_set()).encode()).hexdigest()[:12]

    def curve(self, out: str) -> list[dict[str, float]]:
        """The points of a training, ``bert`` or ``seq2seq/<name>``; none where it was not run."""
        try:
            found: list[dict[str, float]] = self.json(f"data/{out}/curves.json")
        except DataError:
            return []
        return found

    def seconds(self, instance: str, out: str) -> float | None:
        """What the run that wrote an out took, if it ran here or in an experiment of here."""
        try:
            manifest = hashlib.sha256(self.read(f"data/{out}/manifest.json")).hexdigest()
        except DataError:
            return None
        root = home()
        for runs in (root / RUNS, *(root / EXPERIMENTS).glob(f"*/{RUNS}"), RUNS):
            for path in runs.glob(f"{instance}/*/committed.json"):
                if json.loads(path.read_text(encoding="utf-8")).get("manifest") == manifest:
                    timings = Records(path.with_name("timings.jsonl")).read()
                    return float(timings[-1]["seconds"]) if timings else None
        return None

    def lines(self, path: str) -> list[str]:
        """Of a text file."""
        return self.read(path).decode("utf-8").removesuffix("\n").split("\n")

    def json(self, path: str) -> Any:
        """Of a JSON file.

        Raises:
            DataError: it is not there.
        """
        return json.loads(self.read(path))

    def _yaml(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = YAML(typ="safe").load(self.read(path)) or {}
        return found


def open_runs(given: str) -> list[Run]:
    """The runs that a word names, of a sweep more than one; see the table above.

    Raises:
        ParamsError: it names none.
    """
    listed = _git("for-each-ref", "--format=%(refname:short)", f"refs/heads/{given}/")
    if given.startswith("sweep/") and listed:
        return [_of_commit(name.rpartition("/")[2], name) for name in listed.splitlines()]
    return [open_run(given)]


def open_run(given: str) -> Run:
    """The run that a word names; see the table above.

    Raises:
        ParamsError: it names none.
    """
    for folder in (Path(given), EXPERIMENTS / given):
        if (folder / "params.yaml").is_file():
            name = "here" if given == "." else folder.name if "/" in given else given
            return Run(name, partial(_from_folder, name, folder))
    commit = _commit(given)
    if commit is None:
        rule = "name a checkout, an experiment or a commit"
        known = [*_experiments(), *(path.name for path in sorted(EXPERIMENTS.glob("*/")))]
        remedy = f"there are . {' '.join(known)}, and what git log shows"
        raise ParamsError(broken_rule(_WHERE, "run", given, rule, remedy))
    return _of_commit(given, commit)


def _from_folder(name: str, folder: Path, path: str) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{name}: {path} must be there ({error.strerror}); run it to its end, make run"
        ) from None


def _of_commit(name: str, commit: str) -> Run:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    files = DVCFileSystem(rev=commit)

    def read(path: str) -> bytes:
        try:
            found: bytes = files.read_bytes(path)
        except (DvcException, OSError) as error:
            remedy = f"dvc fetch --rev {commit[:12]}, or check it out and make run"
            raise DataError(
                f"{name}: {path} must be in DVC's cache ({type(error).__name__}); {remedy}"
            ) from None
        return found

    return Run(name, read)


def _commit(given: str) -> str | None:
    """An experiment's, else what git makes of it."""
    if given in (found := _experiments()):
        return found[given]
    done = _git("rev-parse", "--verify", "--quiet", f"{given}^{{commit}}")
    return done or None


def _experiments() -> dict[str, str]:
    """Name → commit of DVC's experiments."""
    listed = _git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps")
    rows = (line.split() for line in listed.splitlines())
    return {
        name.rpartition("/")[2]: commit
        for name, commit in rows
        if len(name.split("/")) == 5  # refs/exps/<two digits>/<the others>/<name>
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [
            leaf
            for key, inner in value.items()
            for leaf in _leaves(inner, f"{path}.{key}" if path else str(key))
        ]
    return [(path, value)]
