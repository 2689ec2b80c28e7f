"""Weights of a training on its way, for eyes: they become part of its out.

A snapshot is one file: the weights by name, and with them the averages of squared gradients that
its optimizer keeps, where it keeps any.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import sync

FOLDER = "snapshots"
_MOMENT = "second_moment/"
_AVERAGES = ("exp_avg_sq", "square_avg", "sum", "v")  # Adam's, RMSProp's, AdaGrad's, LAMB's


class Snapshot(NamedTuple):
    """A training after some update.

    Attributes:
        weights: name → weight.
        second_moment: name → average of squared gradients, corrected for its start; empty where the
            optimizer keeps none.
    """

    weights: dict[str, Tensor]
    second_moment: dict[str, Tensor]


def save_snapshot(network: nn.Module, optimizer: Optimizer, folder: Path, update: int) -> None:
    """Write it whole or not at all; a training that goes on from before writes it again."""
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(network.named_parameters())
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in named.items()}
    for name, weight in named.items():
        if (moment := _second_moment(optimizer, weight)) is not None:
            tensors[_MOMENT + name] = moment.detach().float().cpu().contiguous()
    path = _path(folder, update)
    temporary = path.with_suffix(".tmp")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # of a full disk


def _second_moment(optimizer: Optimizer, weight: Tensor) -> Tensor | None:
    for part in getattr(optimizer, "parts", (optimizer,)):
        for group in part.param_groups:
            if any(weight is one for one in group["params"]):
                return _corrected(part.state.get(weight, {}), group)
    return None


def _corrected(state: dict[str, Any], group: dict[str, Any]) -> Tensor | None:
    """The average as the optimizer divides by it."""
    found = next((state[name] for name in _AVERAGES if name in state), None)
    if found is None or "betas" not in group or not group.get("bias_correction", True):
        return found
    steps = float(state.get("step", group.get("step", 0)))
    return found / (1.0 - group["betas"][1] ** steps)


def keep_snapshots(source: Path, out: Path) -> None:
    """Copy what a training has written into its out."""
    if source.is_dir():
        shutil.copytree(source, out / FOLDER, ignore=shutil.ignore_patterns("*.tmp"))


def updates_in(out: Path) -> list[int]:
    """The updates of the snapshots in an out, rising."""
    return sorted(int(path.stem) for path in (out / FOLDER).glob("*.safetensors"))


def load_snapshot(out: Path, update: int) -> Snapshot:
    """Read one.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = _path(out / FOLDER, update)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        known = ", ".join(map(str, updates_in(out))) or "none"
        raise CheckpointError(
            f"{path}: cannot be read ({error}); there are snapshots of updates {known}: name one, "
            "or add it to snapshots in params.yaml"
        ) from None
    moments = {
        name.removeprefix(_MOMENT): tensor
        for name, tensor in tensors.items()
        if name.startswith(_MOMENT)
    }
    weights = {name: x for name, x in tensors.items() if not name.startswith(_MOMENT)}
    return Snapshot(weights, moments)


@torch.no_grad()
def put_into(network: nn.Module, weights: dict[str, Tensor], where: object) -> None:
    """Copy weights into a network by their names.

    Raises:
        CheckpointError: it has others, or of other sizes.
    """
    own = dict(network.named_parameters())
    wrong = sorted(own.keys() ^ weights.keys()) or [
        name for name in own if own[name].shape != weights[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{where}: its weights ({', '.join(wrong[:3])}) must be those of the network in "
            "params.yaml; train again, or go back to its params"
        )
    for name, weight in own.items():
        weight.copy_(weights[name])


def _path(folder: Path, update: int) -> Path:
    return folder / f"{update:08d}.safetensors"
