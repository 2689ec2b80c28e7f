"""What a run would do, and why: ``python -m flows.plan [RECIPE …] [--until STAGE] [--json]``.

For each stage instance, in the order of the flow: *run* (something it reads has changed), *cached*
(nothing has, or the result is in DVC's cache), or *waits* (a stage before it runs first; whether
its result changes is known only then). Nothing is computed or written.
"""

import argparse
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import networkx
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.foresight import Foresight, WithParams
from pipelines.frame.errors import ParamsError, exit_code
from pipelines.frame.files import sha256_of
from pipelines.frame.params_problems import nearest
from pipelines.frame.params_reader import ParamsFile, plain
from pipelines.frame.run_folder import at_work, folder_of_out, last_seconds, unfinished
from pipelines.params.recipes import with_recipes
from pipelines.params.rules import problems_of

_ABSENT = None
_SHOWN = 6  # reasons of a stage


@dataclass(frozen=True)
class Reason:
    """One thing that differs from what the last result was made of.

    Attributes:
        kind: stage (dvc.lock does not know it), param, code, data, command or output.
        name: dotted key, or path.
        old, new: values of a param; first digits of a digest; None where there is none.
        place: file and line of the key.
    """

    kind: str
    name: str
    old: Any
    new: Any
    place: str | None = None

    def __str__(self) -> str:
        if self.kind == "param":
            changed = f"{_short(self.old)} → {_short(self.new)}"
            return f"{self.kind} {self.name}: {changed} ({self.place})"
        if self.old and self.new:
            return f"{self.kind} {self.name}: {self.old} → {self.new}"
        return f"{self.kind} {self.name}: {'new' if self.new else 'gone'}"


@dataclass(frozen=True)
class Planned:
    """One stage instance.

    Attributes:
        name: DVC's name, ``seq2seq@gru``.
        state: run, cached or waits.
        reasons: what changed.
        waits_for: stages before it that run or wait.
        environment: ``torch 2.12.0 → 2.13.0`` since the result at hand was made; re-runs nothing by
            itself.
        goes_on_after: updates that an interrupted training has done, which are not done again.
        seconds: it took the last time, in this checkout.
        mib: of its output.
    """

    name: str
    state: str
    reasons: tuple[Reason, ...]
    waits_for: tuple[str, ...]
    environment: tuple[str, ...]
    goes_on_after: int | None
    seconds: float | None
    mib: float | None

    @property
    def notes(self) -> list[str]:
        """Why, and what should be known besides, for people."""
        waits = [f"waits for {', '.join(self.waits_for)}"] if self.state == "waits" else []
        goes_on = [f"goes on after update {self.goes_on_after}"] if self.goes_on_after else []
        changed = (
            [f"environment changed since: {', '.join(self.environment)}"]
            if self.environment
            else []
        )
        return [*map(str, self.reasons), *waits, *goes_on, *changed]


def plan(recipes: Sequence[str] = (), until: str | None = None) -> list[Planned]:
    """All stage instances, each after the ones it depends on.

    Args:
        recipes: laid over params.yaml for this; no file is changed.
        until: the stage instance that is wanted; all, without it.

    Raises:
        ParamsError: there is no such recipe or stage, or the params break rules.
        DvcException: a stage is running, or dvc.yaml is broken.
    """
    params_file = with_recipes(recipes)
    if problems := problems_of(params_file):
        raise ParamsError("\n".join(problems))
    logging.getLogger("dvc").setLevel(logging.WARNING)
    with Repo(".") as repo, repo.lock:
        if recipes:
            text = io.StringIO()
            YAML().dump(params_file.root, text)
            repo.fs = WithParams(text.getvalue())
        graph = repo.index.graph
        wanted = _wanted(graph, until)
        order = networkx.lexicographical_topological_sort(
            graph.reverse(), key=lambda stage: stage.addressing
        )
        foresight, planned = Foresight(repo), dict[str, Planned]()
        for stage in order:
            if stage in wanted:
                before = sorted(needed.addressing for needed in graph.successors(stage))
                waits_for = tuple(name for name in before if planned[name].state != "cached")
                planned[stage.addressing] = _planned(stage, waits_for, foresight, params_file)
    return list(planned.values())


def _wanted(graph: Any, until: str | None) -> set[Any]:
    if until is None:
        return set(graph)
    named = {stage.addressing: stage for stage in graph}
    if until not in named:
        known = ", ".join(sorted(named))
        raise ParamsError(
            f"stage ({until!r}) must be one of {known}; {nearest(until, list(named), 'correct it')}"
        )
    return {named[until], *networkx.descendants(graph, named[until])}


def _planned(
    stage: Any, waits_for: tuple[str, ...], foresight: Foresight, params_file: ParamsFile
) -> Planned:
    """What one stage would do, after the stages before it."""
    bytes_ = sum(out.meta.size or 0 for out in stage.outs if out.meta)
    data = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    deps = {dep: foresight.of_dep(dep) for dep in data}
    reasons = tuple({str(one): one for one in _reasons(stage, deps, params_file)}.values())
    changed = any(reason.kind != "output" for reason in reasons)
    if None in deps.values():
        foresight.computes(stage)
        state = (
            "run" if any(reason.kind not in ("data", "output") for reason in reasons) else "waits"
        )
    else:
        known = {dep: info for dep, info in deps.items() if info is not None}
        state = "cached" if foresight.cached(stage, known, changed) else "run"
    out, goes_on_after = Path(stage.outs[0].def_path), None
    if state == "run" and not waits_for:
        goes_on_after = unfinished(stage.addressing, params_file)
    return Planned(
        stage.addressing,
        state,
        reasons,
        waits_for,
        tuple(_environment(stage.addressing, out)),
        goes_on_after,
        last_seconds(stage.addressing),
        bytes_ / 2**20 if bytes_ else None,
    )


def _reasons(stage: Any, deps: dict[Any, Any], params_file: ParamsFile) -> Iterator[Reason]:
    if not any(dep.hash_info for dep in stage.deps):
        yield Reason("stage", stage.addressing, None, "in dvc.yaml")
        return
    if stage.changed_stage():
        yield Reason("command", stage.addressing, "as it was", "as in dvc.yaml")
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            old, new = dep.hash_info.value or {}, dep.read_params()
            for key in dep.params:
                yield from _differences(key, plain(old.get(key)), plain(new.get(key)), params_file)
        elif (now := deps[dep]) is None or now == dep.hash_info:
            continue
        elif dep.def_path.startswith("data/"):
            yield Reason("data", dep.def_path, _digits(dep.hash_info.value), _digits(now.value))
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
        yield Reason("param", key, old, new, params_file.place(key.split(".")))


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


def lines_of(planned: list[Planned], *, whole: bool = False) -> Iterator[str]:
    """The plan for people; ``whole``: with every reason."""
    for one in planned:
        cost = [
            f"{one.seconds:,.0f} s" if one.seconds else "",
            f"{one.mib:,.1f} MiB" if one.mib else "",
        ]
        before = f"last time {', '.join(filter(None, cost))}" if one.seconds else "never run here"
        yield f"{one.state:8} {one.name:24} {before}"
        shown = one.notes if whole else one.notes[:_SHOWN]
        yield from (f"         {line}" for line in shown)
        if len(one.notes) > len(shown):
            yield f"         … {len(one.notes) - len(shown)} more (--all)"
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
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="as if laid over params.yaml")
    parser.add_argument("--until", metavar="STAGE", help="the stage that is wanted; else all")
    parser.add_argument("--all", action="store_true", help="every reason, not only some")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    try:
        planned = plan(arguments.recipes, arguments.until)
    except DvcException as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        listed = [{**asdict(one), "notes": one.notes} for one in planned]
        print(json.dumps(listed, ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines_of(planned, whole=arguments.all)))
        for _, pid in islice(at_work(), 1):
            print(f"process {pid} works here now; what it has done is not in this plan")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
