"""What a flow leaves in Prefect's UI: the plan, the graph, the results with their pictures."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.graph import Node, ancestors

_PICTURES = ("scores", "seq2seq_loss", "bert_loss", "beam_size", "gradient_distance")
_BOX_X, _BOX_Y, _STEP_X, _STEP_Y = 185, 42, 225, 54  # pixels
_COLOURS = {"Completed": "#c8e6c9", "Cached": "#e0e0e0", "Failed": "#ffcdd2"}


def show_plan(planned: list[dict[str, Any]]) -> None:
    """Each stage: what will happen, and why."""
    table = [
        {
            "stage": one["name"],
            "will": one["state"],
            "seconds last time": round(one["seconds"]) if one["seconds"] else None,
            "MiB": round(one["mib"], 1) if one["mib"] else None,
            "because": "; ".join(one["notes"]) or "-",
        }
        for one in planned
    ]
    create_table_artifact(
        table, key="plan", description="What this run would do, and why, before it started."
    )


def show_graph(nodes: list[Node], states: Mapping[str, str]) -> None:
    """The graph with the states of the stages, drawn and as a table."""
    data = base64.b64encode(drawn(nodes, states).encode()).decode()
    rows = [
        f"| {node.name} | {states[node.name]} | {', '.join(node.depends_on) or '-'} |"
        for node in nodes
    ]
    table = "\n".join(["| stage | state | reads |", "|---|---|---|", *rows])
    create_markdown_artifact(
        f"![graph](data:image/svg+xml;base64,{data})\n\n{table}",
        key="graph",
        description="Stages and their states.",
    )


def drawn(nodes: list[Node], states: Mapping[str, str]) -> str:
    """The graph as SVG: a stage stands a column to the right of the last one it waits for."""
    column: dict[str, int] = {}
    for node in nodes:
        column[node.name] = 1 + max((column[before] for before in node.depends_on), default=-1)
    rows: dict[str, int] = {}
    for node in nodes:
        rows[node.name] = sum(column[other] == column[node.name] for other in rows)
    corner = {name: (10 + _STEP_X * column[name], 10 + _STEP_Y * rows[name]) for name in rows}
    lines, boxes = [], []
    for node in nodes:
        x, y = corner[node.name]
        implied = {
            far.name
            for near in node.depends_on
            for far in ancestors(nodes, near)
            if far.name != near
        }
        for before in (name for name in node.depends_on if name not in implied):
            x0, y0 = corner[before][0] + _BOX_X, corner[before][1] + _BOX_Y / 2
            bend, y1 = (x - x0) / 2, y + _BOX_Y / 2
            path = f"M {x0} {y0} C {x0 + bend} {y0} {x - bend} {y1} {x} {y1}"
            lines.append(f'<path d="{path}" fill="none" stroke="#90a4ae"/>')
        colour = _COLOURS.get(states[node.name], "#fff9c4")
        boxes.append(
            f'<rect x="{x}" y="{y}" width="{_BOX_X}" height="{_BOX_Y}" rx="5" '
            f'fill="{colour}" stroke="#607d8b"/>'
        )
        boxes.append(f'<text x="{x + 8}" y="{y + 17}" font-weight="bold">{node.name}</text>')
        boxes.append(f'<text x="{x + 8}" y="{y + 33}">{states[node.name]}</text>')
    width = 10 + _STEP_X * (1 + max(column.values()))
    height = 10 + _STEP_Y * (1 + max(rows.values()))
    style = 'font-family="sans-serif" font-size="12"'
    inner = "\n".join([f'<rect width="{width}" height="{height}" fill="white"/>', *lines, *boxes])
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {style}>'
    return f"{head}\n{inner}\n</svg>\n"


def show_results(report: Path) -> None:
    """The report's tables and pictures, if there is one."""
    if not (report / "tables.md").is_file():
        return
    tables = (report / "tables.md").read_text(encoding="utf-8")
    create_markdown_artifact(tables, key="results", description="Scores of this checkout.")
    for name in _PICTURES:
        path = report / f"{name}.svg"
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            key = name.replace("_", "-")
            create_markdown_artifact(
                f"![{name}](data:image/svg+xml;base64,{data})", key=key, description=name
            )
