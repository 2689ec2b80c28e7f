"""What a flow leaves in Prefect's UI: the plan, the graph, the results with their pictures."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.graph import Node

_PICTURES = ("bleu", "seq2seq_loss", "bert_loss", "beam_size")
_COLOURS = {"Completed": "#c8e6c9", "Cached": "#e0e0e0", "Failed": "#ffcdd2"}


def show_plan(planned: list[dict[str, Any]]) -> None:
    """Each stage: what will happen, and why."""
    table = [
        {
            "stage": one["name"],
            "will": one["state"],
            "because": "; ".join(one["told"]) or "-",
            "seconds last time": round(one["seconds"]) if one["seconds"] else None,
            "MiB": round(one["mib"], 1) if one["mib"] else None,
        }
        for one in planned
    ]
    create_table_artifact(table, key="plan", description="What this run would do, and why, before it started.")


def show_graph(nodes: list[Node], states: Mapping[str, str]) -> None:
    """The graph with the states of the stages, as mermaid draws it, and as a table."""
    number = {node.name: f"s{place}" for place, node in enumerate(nodes)}
    lines = ["graph LR"]
    for node in nodes:
        lines.append(f'    {number[node.name]}["{node.name}<br/>{states[node.name]}"]')
        lines += [f"    {number[before]} --> {number[node.name]}" for before in node.depends_on]
        if colour := _COLOURS.get(states[node.name]):
            lines.append(f"    style {number[node.name]} fill:{colour}")
    rows = [f"| {node.name} | {', '.join(node.depends_on) or '-'} | {states[node.name]} |" for node in nodes]
    table = "\n".join(["| stage | reads | state |", "|---|---|---|", *rows])
    drawn = "\n".join(lines)
    create_markdown_artifact(
        f"{table}\n\n```mermaid\n{drawn}\n```", key="graph", description="Stages and their states."
    )


def show_results(report: Path) -> None:
    """The report's tables and pictures, if there is one."""
    if not (report / "tables.md").is_file():
        return
    tables = (report / "tables.md").read_text(encoding="utf-8")
    create_markdown_artifact(tables, key="results", description="Scores of this checkout.")
    for name in _PICTURES:
        path = report / f"{name}.png"
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            key = name.replace("_", "-")
            create_markdown_artifact(f"![{name}](data:image/png;base64,{data})", key=key, description=name)
