"""The stages and their order, read from dvc.yaml through DVC itself."""

from dataclasses import dataclass

import networkx
from dvc.repo import Repo


@dataclass(frozen=True)
class Node:
    """One stage instance.

    Attributes:
        name: DVC's name, ``seq2seq@gru``.
        depends_on: names of the instances whose outs it reads.
        cpus: processors it keeps busy.
        gpus: GPUs it uses where there are some.
        alone: without a GPU it keeps all processors busy, and nothing runs beside it.
    """

    name: str
    depends_on: tuple[str, ...]
    cpus: int
    gpus: int
    alone: bool


def read_graph() -> list[Node]:
    """All stage instances, each after the ones it depends on."""
    with Repo(".") as repo:
        graph = repo.index.graph
        order = networkx.lexicographical_topological_sort(graph.reverse(), key=lambda stage: stage.addressing)
        return [
            Node(
                name=stage.addressing,
                depends_on=tuple(sorted(needed.addressing for needed in graph.successors(stage))),
                cpus=int((stage.meta or {}).get("cpus", 1)),
                gpus=int((stage.meta or {}).get("gpus", 0)),
                alone=bool((stage.meta or {}).get("alone", False)),
            )
            for stage in order
        ]
