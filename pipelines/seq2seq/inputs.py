"""A batch as a model takes it: padded rows, or all sequences in one row without padding.

Shapes: B pairs, S source length, T target length, N source tokens, M target tokens, A answers.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.nn.cuda.tables import rows_at
from pipelines.nn.linear_cross_entropy import linear_cross_entropy
from pipelines.nn.rows import Row
from pipelines.seq2seq.data import PairBatch
from pipelines.training.sharing import sent
from pipelines.training.unpadding import EXACT, Steps, Unpadded, rounded_up, unpad

_NONE = -100  # a label that counts for nothing
_PARTS = 4  # sizes of a row that are compiled
_SHORTEST = 8  # tokens of a pair, for the number of pairs that a row is made for


class Padded(NamedTuple):
    """Arguments of `Seq2SeqModel.hidden`, and which places have an answer."""

    source_BS: Tensor
    source_lengths_B: Tensor
    inputs_BT: Tensor
    answered_BT: Tensor
    labels_A: Tensor


class InARow(NamedTuple):
    """Arguments of `Seq2SeqModel.hidden_unpadded`, and which of its places have an answer.

    Attributes:
        answered_A: places; of those that only round their number up, 0.
        labels_A: negative ones count for nothing.
    """

    source: Row
    inputs: Row
    answered_A: Tensor
    labels_A: Tensor


def padded(batch: PairBatch, inputs_BT: Tensor) -> Padded:
    """The rows as they are."""
    answered_BT = batch.labels_BT != PAD
    return Padded(
        batch.source_BS,
        batch.source_lengths_B,
        inputs_BT,
        answered_BT,
        batch.labels_BT[answered_BT],
    )


def steps_for(batch: PairBatch, room: int) -> Steps:
    """Multiples that leave a few sizes.

    Args:
        batch: a micro-batch.
        room: tokens of one side that a batch may have; 0 where it has a number of pairs.
    """
    room = room or len(batch.source_BS) * 2 ** int(np.log2(max(2, int(batch.lengths.max()))))
    return Steps(max(1, -(-room // _PARTS)), max(1, -(-room // _SHORTEST)))


def unpadded(batch: PairBatch, steps: Steps = EXACT) -> InARow:
    """Sources one after the other in one row, targets in another."""
    device = batch.source_BS.device
    sources, targets, answers = batch.lengths
    widths = batch.source_BS.shape[1], batch.inputs_BT.shape[1]
    # One bound for both sides: so that numbers rounded up hold as many sequences.
    longest = max(widths) if steps == EXACT else 1 << (max(widths) - 1).bit_length()
    source, target = (
        unpad(np.arange(len(lengths)) * width, lengths, longest, device, steps)
        for lengths, width in zip((sources, targets), widths, strict=True)
    )
    # A target that was cut has no answer at its last place.
    first = targets.cumsum() - targets
    number = np.arange(answers.sum()) - np.repeat(answers.cumsum() - answers, answers)
    answered_A = sent(torch.from_numpy(np.repeat(first, answers) + number), device)
    labels_A = batch.labels_BT.flatten()[target.places_N[answered_A]]
    return InARow(
        _row(batch.source_BS, source),
        _row(batch.inputs_BT, target),
        rounded_up(answered_A, steps.tokens, 0),
        rounded_up(labels_A, steps.tokens, _NONE),
    )


def _row(tokens_BT: Tensor, where: Unpadded) -> Row:
    return Row(tokens_BT.flatten()[where.places_N][None], where.in_sequence_1N, where.bounds)


def hidden(network: Seq2SeqModel, inputs: Padded | InARow) -> Tensor:
    """What the output layer sees where there is an answer [A, D]."""
    if isinstance(inputs, InARow):
        return rows_at(network.hidden_unpadded(inputs.source, inputs.inputs)[0], inputs.answered_A)
    found_BTD = network.hidden(inputs.source_BS, inputs.source_lengths_B, inputs.inputs_BT)
    return found_BTD[inputs.answered_BT]


def sums(
    network: Seq2SeqModel, inputs: Padded | InARow, label_smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over answers: smoothed loss, negative log-likelihood, right ones."""
    return linear_cross_entropy(
        hidden(network, inputs),
        network.output.weight,
        network.output_bias,
        inputs.labels_A,
        label_smoothing=label_smoothing,
    )
