"""The rooms of the code and the arrows between them: ``python -m tests.rooms`` counts them."""

import ast
from pathlib import Path

import networkx

ROOT = Path(__file__).parent.parent

# From the top: a room uses those on floors below its own.
FLOORS = (
    ("benchmarks",),
    ("flows",),
    ("translate", "speed", "tracking"),
    ("release",),
    ("preflight",),
    ("params",),
    ("laboratory",),
    ("diagnosis",),
    ("ensemble", "classification", "report", "exports"),
    ("looks",),
    ("corpus", "tokenizer", "shards", "bert", "seq2seq", "decoding", "evaluation"),
    ("training", "models"),
    ("formats", "optim"),
    ("nn",),
    ("watch",),
    ("frame",),
)


def imports(path: Path) -> set[str]:
    """The modules that a file names in its imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def _room(module: str) -> str | None:
    """Name of a module's room; None for modules of others."""
    first, *rest = module.split(".")
    if first == "pipelines":
        return rest[0] if rest else None
    return first if first in ("flows", "benchmarks") else None


def house() -> networkx.DiGraph:
    """The rooms; an edge from who uses to what is used, with the files that do."""
    graph = networkx.DiGraph()
    for folder in ("pipelines", "flows", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if (user := _room(module)) is None or module == "pipelines.__init__":
                continue
            graph.add_node(user)
            for name in imports(path):
                if (used := _room(name)) and used != user:
                    graph.add_edge(user, used)
                    graph[user][used].setdefault("files", set()).add(path.name)
    return graph


def running_up(graph: networkx.DiGraph) -> list[tuple[str, str]]:
    """Arrows that do not run to a lower floor."""
    level = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    return [(user, used) for user, used in graph.edges if level[user] >= level[used]]


if __name__ == "__main__":
    found = house()
    circles = [part for part in networkx.strongly_connected_components(found) if len(part) > 1]
    print(
        f"{len(found)} rooms on {networkx.dag_longest_path_length(found) + 1} floors, "
        f"{found.number_of_edges()} arrows, {len(running_up(found))} running up, "
        f"{len(circles)} circles"
    )
