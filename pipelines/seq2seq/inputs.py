"""A batch as a model takes it: padded rows, or all sequences in one row without padding.

Shapes: B pairs, S source length, T target length, N source tokens, M target tokens, A answers.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.nn.cuda.tables import rows_at
from pipelines.nn.linear_cross_entropy import IGNORED, linear_cross_entropy
from pipelines.nn.rows import Row
from pipelines.seq2seq.data import PairBatch
from pipelines.training.sharing import sent
from pipelines.training.unpadding import (
    Ints,
    Unpadded,
    filled_up,
    leading_bits,
    power_of_two,
    share_of,
    unpad,
)

_PARTS = 4  # sizes of a row, where its room is known
_BITS = 3  # of numbers of tokens, where it is not


class Padded(NamedTuple):
    """Arguments of `Seq2SeqModel.hidden`, and which flat places have an answer."""

    source_BS: Tensor
    source_lengths_B: Tensor
    inputs_BT: Tensor
    answered_A: Tensor
    labels_A: Tensor


class InARow(NamedTuple):
    """Arguments of `Seq2SeqModel.hidden_unpadded`, and which of its places have an answer.

    Attributes:
        answered_A: places; of those that only round their number up, 0.
        labels_A: the answers; `IGNORED` ones count for nothing.
        rounded: numbers are rounded up.
    """

    source: Row
    inputs: Row
    answered_A: Tensor
    labels_A: Tensor
    rounded: bool


def padded(batch: PairBatch, inputs_BT: Tensor) -> Padded:
    """The rows as they are."""
    _, targets, answers = batch.lengths
    starts_B = np.arange(len(targets)) * inputs_BT.shape[1]
    answered_A = _answered(starts_B, answers, inputs_BT.device)
    labels_A = batch.labels_BT.flatten()[answered_A]
    return Padded(batch.source_BS, batch.source_lengths_B, inputs_BT, answered_A, labels_A)


def _answered(starts_B: Ints, answers_B: Ints, device: torch.device) -> Tensor:
    """Places with an answer: of each target the first so many. Known without asking the device."""
    number_A = np.arange(answers_B.sum()) - np.repeat(answers_B.cumsum() - answers_B, answers_B)
    return sent(torch.from_numpy(np.repeat(starts_B, answers_B) + number_A), device)


class Size(NamedTuple):
    """What a compiled micro-batch is rounded up by.

    Attributes:
        rows: of a full one.
        room: tokens of one side that it may have; 0 where its pairs are counted.
    """

    rows: int
    room: int

    def tokens(self, number: int, rows: int) -> int:
        """Of one side, where there are so many in so many rows."""
        if self.room:
            part = -(-self.room // _PARTS)
            return -(-number // part) * part
        return leading_bits(number, _BITS) if rows >= self.rows else power_of_two(number)


def unpadded(batch: PairBatch, size: Size | None = None) -> InARow:
    """Sources one after the other in one row, targets in another; rounded up, if it is said how."""
    device = batch.source_BS.device
    sources, targets, answers = batch.lengths
    widths = batch.source_BS.shape[1], batch.inputs_BT.shape[1]
    longest, totals, sequences = max(widths), [0, 0], 0
    if size is not None:
        longest = power_of_two(longest)
        numbers = [max(1, int(lengths.sum())) for lengths in (sources, targets)]
        totals = [size.tokens(number, len(sources)) for number in numbers]
        # As many sequences on both sides, with those of the tokens beyond.
        more = max(-(-(t - n) // longest) for t, n in zip(totals, numbers, strict=True))
        sequences = share_of(max(totals), len(sources) + more)
    source, target = (
        unpad(
            np.arange(len(lengths)) * width, lengths, longest, device,
            tokens=total, sequences=sequences,
        )
        for lengths, width, total in zip((sources, targets), widths, totals, strict=True)
    )  # fmt: skip
    # A target that was cut has no answer at its last place.
    answered_A = _answered(targets.cumsum() - targets, answers, device)
    labels_A = batch.labels_BT.flatten()[target.places_N[answered_A]]
    return InARow(
        _row(batch.source_BS, source),
        _row(batch.inputs_BT, target),
        filled_up(answered_A, totals[1] or len(answered_A), 0),
        filled_up(labels_A, totals[1] or len(labels_A), IGNORED),
        rounded=size is not None,
    )


def _row(tokens_BT: Tensor, where: Unpadded) -> Row:
    return Row(tokens_BT.flatten()[where.places_N][None], where.in_sequence_1N, where.bounds)


def hidden(network: Seq2SeqModel, inputs: Padded | InARow) -> Tensor:
    """What the output layer sees where there is an answer [A, D]."""
    if isinstance(inputs, InARow):
        return rows_at(network.hidden_unpadded(inputs.source, inputs.inputs)[0], inputs.answered_A)
    found_BTD = network.hidden(inputs.source_BS, inputs.source_lengths_B, inputs.inputs_BT)
    return rows_at(found_BTD.flatten(0, 1), inputs.answered_A)


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
        rounded_up=isinstance(inputs, InARow) and inputs.rounded,
    )
