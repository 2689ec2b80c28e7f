"""Families by their names: one file of ``pipelines/models`` each, found by `build_model`.

A new family is one file there with ``Params`` (its schema) and ``Model`` (its network), one block
in params.yaml and one parameter in its test.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.frame.errors import ParamsError
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.params import ArchitectureParams

_NO_FAMILIES = ("__init__", "bert")  # an encoder alone


def families() -> list[str]:
    """The names of all families."""
    files = sorted(path.stem for path in Path(__file__).parents[1].glob("*.py"))
    return [name for name in files if name not in _NO_FAMILIES]


def family_module(family: str) -> str:
    """The module of a family.

    Raises:
        ParamsError: there is no such family.
    """
    if family not in families():
        raise ParamsError(
            f"params.yaml: family ({family!r}) must be one of {', '.join(families())}; correct it"
        )
    return f"pipelines.models.{family}"


def schema_of(family: str) -> type[ArchitectureParams]:
    """The schema of a family's block."""
    schema: type[ArchitectureParams] = import_module(family_module(family)).Params
    return schema


def build_model(params: ArchitectureParams, vocab_size: int) -> Seq2SeqModel:
    """The network of a block, with random weights."""
    model: Any = import_module(family_module(params.family)).Model
    built: Seq2SeqModel = model(params, vocab_size)
    return built
