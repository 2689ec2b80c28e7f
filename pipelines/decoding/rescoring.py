"""Scoring given translations by teacher forcing: the proof that a search returned what it says.

Shapes: B hypotheses, T target length, V vocabulary.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipelines.tokenizer.special_tokens import PAD, START


class ForcedModel(Protocol):
    """What scoring needs: see `pipelines.seq2seq.models.protocol.Seq2SeqModel`."""

    def teacher_forced(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of every target position."""
        ...


@torch.inference_mode()
def log_probabilities(
    model: ForcedModel, source_BS: Tensor, lengths_B: Tensor, targets: Sequence[Sequence[int]]
) -> list[float]:
    """Log P(target | source) of each pair, in nats."""
    T = max(map(len, targets))
    labels_BT = torch.full((len(targets), T), PAD, device=source_BS.device)
    for row, target in enumerate(targets):
        labels_BT[row, : len(target)] = torch.tensor(target)
    inputs_BT = torch.cat([torch.full_like(labels_BT[:, :1], START), labels_BT[:, :-1]], dim=1)
    logits_BTV = model.teacher_forced(source_BS, lengths_B, inputs_BT)
    chosen_BT = logits_BTV.log_softmax(dim=-1).gather(2, labels_BT[:, :, None]).squeeze(2)
    sizes_B = torch.tensor([len(target) for target in targets], device=source_BS.device)
    real_BT = torch.arange(T, device=source_BS.device) < sizes_B[:, None]
    totals: list[float] = chosen_BT.masked_fill(~real_BT, 0.0).sum(dim=1).tolist()
    return totals
