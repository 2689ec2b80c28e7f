"""The stages as dvc.lock has them: a table, and a picture of what reads what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import networkx
from markupsafe import Markup
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.frame.errors import DataError, broken_rule
from pipelines.report.table import cost_of

_WIDTH, _HEIGHT, _BETWEEN, _BELOW, _EDGE = 124, 56, 14, 34, 2  # of boxes, in pixels
_LETTERS = 17  # of a name in a box


@dataclass(frozen=True)
class Locked:
    """A stage instance whose out is here.

    Attributes:
        name: DVC's, ``seq2seq@gru``.
        out: its folder.
        digest: the first digits of the out's.
        mib: how large the out is.
        seconds: what the run that wrote it took; None if it did not run in this checkout.
        joules: what the machine used meanwhile; None if nothing measured it.
        reads: files and folders.
    """

    name: str
    out: str
    digest: str
    mib: float
    seconds: float | None
    joules: float | None
    reads: tuple[str, ...]


def locked_stages() -> list[Locked]:
    """Those of dvc.lock, in its order; what other params left in it is not among them.

    Raises:
        DataError: dvc.lock is damaged.
    """
    try:
        text = Path("dvc.lock").read_text(encoding="utf-8")
    except OSError:
        return []
    try:
        locked: Mapping[str, Any] = YAML(typ="safe").load(text) or {}
    except YAMLError as error:
        rule, remedy = "be whole; DVC writes it", "git checkout dvc.lock"
        told = str(error).splitlines()[0]
        raise DataError(broken_rule("dvc.lock", "content", told, rule, remedy)) from None
    found = []
    for name, entry in locked.get("stages", {}).items():
        for out in entry.get("outs", ())[:1]:
            path = Path(out["path"])
            if path.exists():
                reads = tuple(dep["path"] for dep in entry.get("deps", ()))
                digest, mib = str(out.get("md5", "–"))[:12], out.get("size", 0) / 2**20
                seconds, joules = (cost_of(name, path, cost) for cost in ("seconds", "joules"))
                one = Locked(name, path.as_posix(), digest, mib, seconds, joules, reads)
                found.append(one)
    return found


def stages_table(stages: Sequence[Locked]) -> list[list[str]]:
    """Stage, hash of its out, MiB, seconds and watt-hours if it ran here; a header first.

    Watt-hours, the whole machine's, are left out where nothing measured them.
    """
    measured = any(one.joules is not None for one in stages)
    rows = [["stage", "hash of its out", "MiB", "seconds here", *(["Wh here"] * measured)]]
    for one in stages:
        seconds = "–" if one.seconds is None else f"{one.seconds:,.0f}"
        hours = "–" if one.joules is None else f"{one.joules / 3600:,.2f}"
        rows.append([one.name, one.digest, f"{one.mib:.1f}", seconds, *([hours] * measured)])
    return rows


def edges(stages: Sequence[Locked]) -> "networkx.DiGraph[str]":
    """Which stage reads another's out; ways that go through a third are left out.

    A stage that reads ``data/seq2seq`` reads the out of every architecture.
    """
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(one.name for one in stages)
    for reader in stages:
        for path in reader.reads:
            graph.add_edges_from(
                (maker.name, reader.name)
                for maker in stages
                if maker is not reader and f"{maker.out}/".startswith(f"{path}/")
            )
    return networkx.transitive_reduction(graph)


def drawn(stages: Sequence[Locked]) -> Markup:
    """The graph as SVG, a row for each step of the longest way; nothing without stages."""
    if not stages:
        return Markup()
    graph, by_name = edges(stages), {one.name: one for one in stages}
    layers = map(set, networkx.topological_generations(graph))
    rows = [[name for name in by_name if name in layer] for layer in layers]
    widest = max(map(len, rows)) * (_WIDTH + _BETWEEN) - _BETWEEN
    places: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        top = _EDGE + number * (_HEIGHT + _BELOW)
        lefts = _lefts(row, graph, places, widest)
        places |= {name: (left, top) for name, left in lefts.items()}
    width = widest + 2 * _EDGE
    height = len(rows) * (_HEIGHT + _BELOW) - _BELOW + 2 * _EDGE
    seen = f"{len(stages)} stages from {rows[0][0]} to {rows[-1][-1]}: " + "; ".join(
        f"{name} reads {', '.join(before)}"
        for name in by_name
        if (before := sorted(graph.predecessors(name)))
    )
    parts = [
        f'<svg class="graph" role="img" aria-label="{escape(seen)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-size="13" fill="currentColor">'
    ]
    parts += [_line(places[one], places[other]) for one, other in graph.edges]
    parts += [part for name, place in places.items() for part in _box(by_name[name], *place)]
    return Markup("\n".join([*parts, "</svg>"]))


def _lefts(
    row: Sequence[str],
    graph: "networkx.DiGraph[str]",
    places: Mapping[str, tuple[float, float]],
    widest: float,
) -> dict[str, float]:
    """Where the boxes of a row begin: each below what it reads, as far as there is room."""
    step, middle = _WIDTH + _BETWEEN, _EDGE + (widest - _WIDTH) / 2
    wanted = {}
    for name in row:
        above = [places[one][0] for one in graph.predecessors(name)]
        wanted[name] = sum(above) / len(above) if above else middle
    order = sorted(row, key=wanted.__getitem__)
    found: dict[str, float] = {}
    least = float(_EDGE)
    for number, name in enumerate(order):
        most = _EDGE + widest - _WIDTH - (len(order) - 1 - number) * step
        found[name] = min(max(wanted[name], least), most)
        least = found[name] + step
    return found


def _line(one: tuple[float, float], other: tuple[float, float]) -> str:
    """From below a box to the top of another."""
    top, bottom = one[1] + _HEIGHT, other[1]
    start, end = one[0] + _WIDTH / 2, other[0] + _WIDTH / 2
    bend = bottom - _BELOW / 2
    return (
        f'<path d="M{start:g} {top:g}C{start:g} {bend:g} {end:g} {bend:g} {end:g} {bottom:g}" '
        'fill="none" stroke="#808080"/>'
    )


def _box(one: Locked, left: float, top: float) -> Iterator[str]:
    """A stage; dashed where its out was not computed here."""
    dashed = ' stroke-dasharray="5 3"' if one.seconds is None else ""
    cost = "" if one.seconds is None else f"{one.seconds:,.0f} s · "
    stage, _, item = one.name.partition("@")
    item = item if len(item) <= _LETTERS else f"{item[: _LETTERS - 1]}…"
    yield (
        f'<rect x="{left:g}" y="{top:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
        f'stroke="currentColor"{dashed}/>'
    )
    lines = [(stage, 13), *([(item, 12)] if item else []), (f"{cost}{one.digest[:8]}", 11)]
    for number, (text, size) in enumerate(lines):
        down = top + (18 if item else 24) + 15 * number
        yield f'<text x="{left + 9:g}" y="{down:g}" font-size="{size}">{escape(text)}</text>'
