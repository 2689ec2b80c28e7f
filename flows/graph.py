"""The stages and their order, read from dvc.yaml through DVC itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
from dvc.repo import Repo

from pipelines.frame.errors import ParamsError
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import read_params, validate


@dataclass(frozen=True)
class Node:
    """One stage instance.

    Attributes:
        name: DVC's name, ``seq2seq@gru``.
        depends_on: names of the instances whose outs it reads.
        cpus: processors it keeps busy.
        gpus: GPUs it uses where there are some: a training ``hardware.devices``, a search one.
        alone: without a GPU it keeps all processors busy, and nothing runs beside it.
        limit_s: seconds it may run, from ``hours``; None for any time.
    """

    name: str
    depends_on: tuple[str, ...]
    cpus: int
    gpus: int
    alone: bool
    limit_s: float | None = None


def ancestors(nodes: Iterable[Node], name: str) -> list[Node]:
    """A stage instance and all it depends on, directly or not, in the order given.

    Raises:
        ParamsError: there is no such stage.
    """
    by_name = {node.name: node for node in nodes}
    if name not in by_name:
        raise ParamsError(f"stage ({name}) must be one of {', '.join(by_name)}; correct it")
    wanted, found = [name], set()
    while wanted:
        found.add(one := wanted.pop())
        wanted += [before for before in by_name[one].depends_on if before not in found]
    return [node for node in by_name.values() if node.name in found]


def _gpus(meta: dict[str, Any], devices: int) -> int:
    """A stage that keeps a machine busy is a training, which shares its batches among devices."""
    if not meta.get("gpus"):
        return 0
    return devices if meta.get("alone") else 1


def read_graph(folder: Path = Path()) -> list[Node]:
    """All stage instances of a checkout, each after the ones it depends on.

    ``meta.gpus`` of a stage says whether it can use any; how many follows from its params.

    Raises:
        ParamsError: params.yaml has no valid section ``hardware``.
    """
    devices = validate(read_params(folder / "params.yaml"), "hardware", Hardware).devices
    with Repo(str(folder)) as repo:
        graph = repo.index.graph
        order = networkx.lexicographical_topological_sort(
            graph.reverse(), key=lambda stage: stage.name
        )
        return [
            Node(
                name=stage.name,
                depends_on=tuple(sorted(needed.name for needed in graph.successors(stage))),
                cpus=int((stage.meta or {}).get("cpus", 1)),
                gpus=_gpus(stage.meta or {}, devices),
                alone=bool((stage.meta or {}).get("alone", False)),
                limit_s=3600 * float(stage.meta["hours"])
                if (stage.meta or {}).get("hours")
                else None,
            )
            for stage in order
        ]
