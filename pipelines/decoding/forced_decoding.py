"""Scoring given translations by teacher forcing: the proof that a search returned what it says.

Shapes: B hypotheses, T target length, V vocabulary.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pipelines.formats.vocabulary.special_tokens import PAD, START

_AT_ONCE = {"cpu": 32}  # hypotheses, whose logits are as many tables of length × vocabulary
_ELSEWHERE = 64


class ForcedModel(Protocol):
    """What forced decoding needs: see `pipelines.models.protocol.model.Seq2SeqModel`."""

    def teacher_forced(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of every target position."""
        ...


@torch.inference_mode()
def log_probabilities(
    model: ForcedModel, source_BS: Tensor, lengths_B: Tensor, targets: Sequence[Sequence[int]]
) -> list[float]:
    """Log P(target | source) of each pair, in nats."""
    found: list[float] = []
    at_once = _AT_ONCE.get(source_BS.device.type, _ELSEWHERE)
    for first in range(0, len(targets), at_once):
        rows = slice(first, first + at_once)
        found += _of_batch(model, source_BS[rows], lengths_B[rows], targets[rows])
    return found


def _of_batch(
    model: ForcedModel, source_BS: Tensor, lengths_B: Tensor, targets: Sequence[Sequence[int]]
) -> list[float]:
    labels = np.full((len(targets), max(map(len, targets))), PAD, np.int64)
    for row, target in enumerate(targets):
        labels[row, : len(target)] = target
    labels_BT = torch.from_numpy(labels).to(source_BS.device)
    sizes_B = torch.tensor([len(target) for target in targets], device=source_BS.device)
    inputs_BT = torch.cat([torch.full_like(labels_BT[:, :1], START), labels_BT[:, :-1]], dim=1)
    logits_BTV = model.teacher_forced(source_BS, lengths_B, inputs_BT)
    chosen_BT = logits_BTV.gather(2, labels_BT[:, :, None]).squeeze(2) - logits_BTV.logsumexp(
        dim=-1
    )
    real_BT = torch.arange(labels_BT.shape[1], device=source_BS.device) < sizes_B[:, None]
    totals: list[float] = chosen_BT.double().masked_fill(~real_BT, 0.0).sum(dim=1).tolist()
    return totals
