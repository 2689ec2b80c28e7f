"""What a run would do, and why: ``python -m flows.plan [--json]``.

For each stage instance, in the order of the flow: *run* (something it reads has changed), *cached*
(nothing has, or the result is in DVC's cache), or *blocked* (a stage before it runs first; whether
its result changes is known only then). Nothing is computed or written.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import networkx
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotFoundError
from dvc_data.hashfile.hash_info import HashInfo

from pipelines.frame.files import sha256_of
from pipelines.frame.params_reader import ParamsFile, plain, read_params
from pipelines.frame.run_folder import folder_of_out, last_seconds

_ABSENT = None


@dataclass(frozen=True)
class Reason:
    """One thing that differs from what the last result was made of.

    Attributes:
        kind: stage (dvc.lock does not know it), param, code, data, command or output.
        name: dotted key, or path.
        old, new: values of a param; first digits of a digest; None where there is none.
        line: of the key in params.yaml.
    """

    kind: str
    name: str
    old: Any
    new: Any
    line: int | None = None

    def __str__(self) -> str:
        where = f" (params.yaml:{self.line})" if self.line else ""
        if self.kind == "param":
            return f"{self.kind} {self.name}: {_short(self.old)} → {_short(self.new)}{where}"
        if self.old and self.new:
            return f"{self.kind} {self.name}: {self.old} → {self.new}"
        return f"{self.kind} {self.name}: {'new' if self.new else 'gone'}"


@dataclass(frozen=True)
class Planned:
    """One stage instance.

    Attributes:
        name: DVC's name, ``seq2seq@gru``.
        state: run, cached or blocked.
        reasons: what changed.
        waits_for: stages before it that run or are blocked.
        environment: ``torch 2.12.0 → 2.13.0`` since the result at hand was made; re-runs nothing by
            itself.
        seconds: it took the last time, in this checkout.
        mib: of its output.
    """

    name: str
    state: str
    reasons: tuple[Reason, ...]
    waits_for: tuple[str, ...]
    environment: tuple[str, ...]
    seconds: float | None
    mib: float | None

    @property
    def notes(self) -> list[str]:
        """Why, and what should be known besides, for people."""
        waits = [f"waits for {', '.join(self.waits_for)}"] if self.state == "blocked" else []
        changed = (
            [f"environment changed since: {', '.join(self.environment)}"]
            if self.environment
            else []
        )
        return [*map(str, self.reasons), *waits, *changed]


def plan() -> list[Planned]:
    """All stage instances, each after the ones it depends on.

    Raises:
        DvcException: a stage is running, or dvc.yaml is broken.
    """
    params_file = read_params()
    logging.getLogger("dvc").setLevel(logging.WARNING)
    planned: dict[str, Planned] = {}
    with Repo(".") as repo, repo.lock:
        graph = repo.index.graph
        order = list(
            networkx.lexicographical_topological_sort(
                graph.reverse(), key=lambda stage: stage.addressing
            )
        )
        for stage in order:
            before = sorted(needed.addressing for needed in graph.successors(stage))
            waits_for = tuple(name for name in before if planned[name].state != "cached")
            lost = any(
                reason.kind == "output" for name in before for reason in planned[name].reasons
            )
            # An output lost before this stage comes back or makes it wait: no reason of its own.
            found = _reasons(stage, params_file)
            reasons = tuple(reason for reason in found if not (lost and reason.kind == "data"))
            kinds = {reason.kind for reason in reasons}
            if waits_for and kinds <= {"data", "output"}:
                state = "blocked"
            elif not reasons or (not waits_for and _in_cache(repo, stage)):
                state = "cached"
            else:
                state = "run"
            out = Path(stage.outs[0].def_path)
            bytes_ = sum(part.meta.size or 0 for part in stage.outs if part.meta)
            planned[stage.addressing] = Planned(
                stage.addressing,
                state,
                reasons,
                waits_for,
                tuple(_environment(stage.addressing, out)),
                last_seconds(stage.addressing),
                bytes_ / 2**20 if bytes_ else None,
            )
    return list(planned.values())


def _reasons(stage: Any, params_file: ParamsFile) -> Iterator[Reason]:
    if not any(dep.hash_info for dep in stage.deps):
        yield Reason("stage", stage.addressing, None, "in dvc.yaml")
        return
    if stage.changed_stage():
        yield Reason("command", stage.addressing, "as it was", "as in dvc.yaml")
    for dep in stage.deps:
        if not dep.status():
            continue
        if isinstance(dep, ParamsDependency):
            old, new = dep.hash_info.value or {}, dep.read_params()
            for key in dep.params:
                yield from _differences(key, plain(old.get(key)), plain(new.get(key)), params_file)
        elif dep.def_path.startswith("data/"):
            new_md5 = dep.get_hash().value if dep.exists else None
            yield Reason("data", dep.def_path, _digits(dep.hash_info.value), _digits(new_md5))
        else:
            yield from _changed_code(stage, dep)
    for out in stage.outs:
        if not out.exists or (out.status() and out.hash_info):
            yield Reason("output", out.def_path, _digits(out.hash_info.value), None)


def _changed_code(stage: Any, dep: Any) -> Iterator[Reason]:
    """The files of a dependency that differ from those the result at hand was made with.

    DVC knows the digest of a folder alone; the run folder knows each file that was imported. Where
    it is gone, or the change is in a file that was not imported, the folder is named.
    """
    origin = _origin(stage.addressing, Path(stage.outs[0].def_path))
    changed = []
    for name, old in origin.get("code", {}).items():
        if Path(name).is_relative_to(dep.def_path):
            new = sha256_of(Path(name)) if Path(name).is_file() else None
            if new != old:
                changed.append(Reason("code", name, _digits(old), _digits(new)))
    if changed:
        yield from changed
    else:
        new_md5 = dep.get_hash().value if dep.exists else None
        yield Reason("code", dep.def_path, _digits(dep.hash_info.value), _digits(new_md5))


def _differences(key: str, old: Any, new: Any, params_file: ParamsFile) -> Iterator[Reason]:
    """The leaves of a section that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _differences(
                f"{key}.{name}", old.get(name, _ABSENT), new.get(name, _ABSENT), params_file
            )
    elif old != new:
        yield Reason("param", key, old, new, params_file.line(key.split(".")))


def _in_cache(repo: Repo, stage: Any) -> bool:
    """Whether DVC has computed exactly this before, and still has the result;
    changes ``stage``, not the checkout.
    """
    for out in stage.outs:
        out.hash_info = HashInfo()  # or DVC would look at what stands there now
    try:
        stage.save_deps()
        repo.stage_cache.restore(stage, dry=True)
    except (RunCacheNotFoundError, DvcException, OSError):
        return False
    return True


def _origin(instance: str, out: Path) -> dict[str, Any]:
    """What the run that wrote an out kept of its code and environment; empty where it is gone."""
    folder = folder_of_out(instance, out)
    if folder is None or not (folder / "origin.json").is_file():
        return {}
    found: dict[str, Any] = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    return found


def _environment(instance: str, out: Path) -> Iterator[str]:
    """Versions of packages that are others than those the result was made with."""
    for name, old in _origin(instance, out).get("versions", {}).items():
        try:
            new = version(name)
        except PackageNotFoundError:
            new = "not installed"
        if old != new:
            yield f"{name} {old} → {new}"


def _digits(value: object) -> str | None:
    return str(value)[:8] if value else None


def _short(value: Any) -> str:
    text = "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def lines_of(planned: list[Planned]) -> Iterator[str]:
    """The plan for people."""
    for one in planned:
        cost = [
            f"{one.seconds:,.0f} s" if one.seconds else "",
            f"{one.mib:,.1f} MiB" if one.mib else "",
        ]
        before = f"last time {', '.join(filter(None, cost))}" if any(cost) else "never run here"
        yield f"{one.state:8} {one.name:24} {before}"
        yield from (f"         {line}" for line in one.notes)
    known = [one.seconds for one in planned if one.state != "cached" and one.seconds]
    count = sum(one.state != "cached" for one in planned)
    yield f"{count} of {len(planned)} stages may run" + (
        f", about {sum(known):,.0f} s" if known else ""
    )


def main() -> int:
    """Print the plan of this checkout; 0, or 1 if DVC cannot read it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    try:
        planned = plan()
    except DvcException as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        listed = [{**asdict(one), "notes": one.notes} for one in planned]
        print(json.dumps(listed, ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines_of(planned)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
