"""A batch as the network takes it: padded rows, or all sequences in one row without padding.

Shapes: R rows, T their length, S sequences, M masked tokens; of one row without padding R = 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.bert.data import PretrainingBatch
from pipelines.models.bert import Bert, attention_mask
from pipelines.nn.linear_cross_entropy import IGNORED, linear_cross_entropy
from pipelines.nn.plain import seen
from pipelines.nn.rows import Within
from pipelines.nn.transformer.attention import Mask
from pipelines.training.unpadding import filled_up, leading_bits, power_of_two, share_of, unpad

_BITS = 5  # of numbers of tokens: 16 in an octave, 3 % too much on average


class Inputs(NamedTuple):
    """The tensors of a micro-batch.

    Attributes:
        tokens_RT, types_RT, places_RT, mask: see `pipelines.models.bert.BertEncoder.forward`.
        first_S, masked_M: flat places of the sequences' [CLS] and of the hidden tokens.
        labels_M, nsp_S: the answers; `IGNORED` ones count for nothing.
        rounded: their numbers are rounded up.
    """

    tokens_RT: Tensor
    types_RT: Tensor
    places_RT: Tensor | None
    mask: Mask
    first_S: Tensor
    masked_M: Tensor
    labels_M: Tensor
    nsp_S: Tensor
    rounded: bool = False

    def rounded_up(self, tokens: int) -> "Inputs":
        """The same with more hidden tokens and pairs that count for nothing, for so many tokens."""
        hidden, pairs = (share_of(tokens, len(part)) for part in (self.labels_M, self.nsp_S))
        return self._replace(
            rounded=True,
            first_S=filled_up(self.first_S, pairs, 0),
            nsp_S=filled_up(self.nsp_S, pairs, IGNORED),
            masked_M=filled_up(self.masked_M, hidden, 0),
            labels_M=filled_up(self.labels_M, hidden, IGNORED),
        )


def compiled_size(batch: PretrainingBatch, rows: int) -> int:
    """How many tokens the row of a compiled micro-batch has.

    Args:
        batch: a micro-batch.
        rows: of a full one; a remainder is rounded up to a power of two, of an eighth of a full one
            at least, lest each be compiled.
    """
    number = max(1, int(batch.spans[1].sum()))
    here, length = batch.tokens_RT.shape
    if here >= rows:
        return leading_bits(number, _BITS)
    return power_of_two(max(number, rows * length // 8))


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


def unpadded(batch: PretrainingBatch, tokens: int = 0) -> Inputs:
    """All sequences one after the other in a single row; of so many ``tokens``, if it is said."""
    device, T = batch.tokens_RT.device, batch.tokens_RT.shape[1]
    starts_S, lengths_S = batch.spans
    longest, sequences = T, 0
    if tokens:
        longest = power_of_two(T)
        more = -(-(tokens - int(lengths_S.sum())) // longest)
        sequences = share_of(tokens, len(lengths_S) + more)
    row = unpad(starts_S, lengths_S, longest, device, tokens=tokens, sequences=sequences)
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
        rounded_up=inputs.rounded,
    )
    if not with_nsp:
        return mlm, mlm_correct, None, None
    logits_S2 = seen(network.nsp_logits(network.pooled(hidden_RTD, inputs.first_S)).float())
    nsp = F.cross_entropy(logits_S2, inputs.nsp_S, ignore_index=IGNORED, reduction="sum")
    return mlm, mlm_correct, nsp, (logits_S2.argmax(dim=1) == inputs.nsp_S).sum()
