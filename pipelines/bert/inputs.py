"""A batch as the network takes it: padded rows, or all sequences in one row without padding.

Shapes: R rows, T their length, S sequences, M masked tokens; of one row without padding R = 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.bert.data import PretrainingBatch
from pipelines.models.bert import Bert, attention_mask
from pipelines.nn.linear_cross_entropy import linear_cross_entropy
from pipelines.nn.rows import Within
from pipelines.nn.transformer.attention import Mask
from pipelines.training.unpadding import EXACT, Steps, rounded_up, unpad

_NONE = -100  # a label that counts for nothing, as PyTorch's cross-entropy has it
_SHARE = 32  # of the room there is: so many sizes at most, and 1.6 % of it too much on average


class Inputs(NamedTuple):
    """The tensors of a micro-batch.

    Attributes:
        tokens_RT, types_RT, places_RT, mask: see `pipelines.models.bert.BertEncoder.forward`.
        first_S, masked_M: flat places of the sequences' [CLS] and of the hidden tokens.
        labels_M, nsp_S: the answers; negative ones count for nothing.
    """

    tokens_RT: Tensor
    types_RT: Tensor
    places_RT: Tensor | None
    mask: Mask
    first_S: Tensor
    masked_M: Tensor
    labels_M: Tensor
    nsp_S: Tensor

    def rounded_up(self, steps: Steps) -> "Inputs":
        """The same with more hidden tokens and pairs that count for nothing, up to few sizes."""
        return self._replace(
            first_S=rounded_up(self.first_S, steps.sequences, 0),
            nsp_S=rounded_up(self.nsp_S, steps.sequences, _NONE),
            masked_M=rounded_up(self.masked_M, steps.tokens, 0),
            labels_M=rounded_up(self.labels_M, steps.tokens, _NONE),
        )


def steps_for(batch: PretrainingBatch) -> Steps:
    """Multiples that leave few sizes: rows hold nearly as many tokens in each batch."""
    room = batch.tokens_RT.numel(), batch.spans.shape[1]
    return Steps(*(max(1, -(-one // _SHARE)) for one in room))


def padded(batch: PretrainingBatch) -> Inputs:
    """The rows as they are, with a mask where one is needed."""
    sequences, _, real = batch.per_row
    packed = int(sequences.max(initial=0)) > 1
    full = int(real.sum()) == batch.tokens_RT.numel()
    mask = None if full and not packed else attention_mask(batch.sequences_RT, packed=packed)
    return Inputs(
        batch.tokens_RT,
        batch.types_RT,
        batch.places_RT if packed else None,
        mask,
        batch.first_S,
        batch.masked_M,
        batch.labels_M,
        batch.nsp_S,
    )


def unpadded(batch: PretrainingBatch, steps: Steps = EXACT) -> Inputs:
    """All sequences one after the other in a single row."""
    device, T = batch.tokens_RT.device, batch.tokens_RT.shape[1]
    starts_S, lengths_S = batch.spans
    row = unpad(starts_S, lengths_S, T, device, steps)
    # How far tokens move: by the padding of the rows before theirs, whose tokens stand in front.
    place_S = torch.searchsorted(starts := batch.first_S, batch.masked_M, right=True) - 1
    moved_S = starts - row.bounds.ends_S1[: len(starts)]
    return Inputs(
        batch.tokens_RT.flatten()[row.places_N][None],
        batch.types_RT.flatten()[row.places_N][None],
        row.in_sequence_1N,
        Within(row.bounds, row.bounds),
        starts - moved_S,
        batch.masked_M - moved_S[place_S],
        batch.labels_M,
        batch.nsp_S,
    )


def sums(
    network: Bert, inputs: Inputs, with_nsp: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Sums over hidden tokens and over pairs: MLM loss, right answers, NSP loss, right answers."""
    hidden_RTD = network(inputs.tokens_RT, inputs.types_RT, inputs.mask, inputs.places_RT)
    mlm, _, mlm_correct = linear_cross_entropy(
        network.mlm_hidden(hidden_RTD, inputs.masked_M),
        network.embeddings.token.weight,
        network.mlm_bias,
        inputs.labels_M,
    )
    if not with_nsp:
        return mlm, mlm_correct, None, None
    logits_S2 = network.nsp_logits(network.pooled(hidden_RTD, inputs.first_S)).float()
    nsp = F.cross_entropy(logits_S2, inputs.nsp_S, ignore_index=_NONE, reduction="sum")
    return mlm, mlm_correct, nsp, (logits_S2.argmax(dim=1) == inputs.nsp_S).sum()
