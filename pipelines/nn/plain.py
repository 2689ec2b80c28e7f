"""Losses by operations that have a second derivative, for their curvature.

Training computes with kernels that have none: PyTorch's fused attention and recurrent layers on
CPUs, this project's dropout and linear cross-entropy. Each asks `is_plain` which way to go.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """What a loss is made of.

    Attributes:
        logits: [N, V]; the loss depends on weights through these alone.
        features: [N, D] that the output layer saw, where it tells.
        labels: the right ones [N].
    """

    logits: Tensor
    features: Tensor | None = None
    labels: Tensor | None = None


_collecting: list[list[Scores]] = []  # the innermost block last


@contextmanager
def twice_differentiable() -> Iterator[list[Scores]]:
    """Within, losses are made of PyTorch's plain operations, equal in value and gradient.

    Yields:
        What forward passes within hand to `seen`, in their order.
    """
    _collecting.append([])
    try:
        yield _collecting[-1]
    finally:
        _collecting.pop()


def is_plain() -> bool:
    """Whether a second derivative is wanted."""
    return bool(_collecting)


def seen(logits: Tensor, features: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
    """Logits as they are; within `twice_differentiable` all is kept, see `Scores`."""
    if _collecting:
        _collecting[-1].append(Scores(logits, features, labels))
    return logits
