"""Batches of classified texts: position → the same rows wherever it is computed.

Shapes: R rows, T their length.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.classification.examples import Example
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import CLS, PAD, SEP
from pipelines.training.bucketing import Bucketed, BucketedBatches, Ints
from pipelines.training.positions import Position
from pipelines.training.sharing import MadeWhenAsked

NO_LABEL = -100  # what PyTorch's cross-entropy leaves out
_LENGTH_STEP = 8  # rows are padded to a multiple: few shapes, so matrix kernels are set up once


class EncodedExamples(NamedTuple):
    """Texts as ids, special tokens included.

    Attributes:
        tokens: [CLS] A [SEP] or [CLS] A [SEP] B [SEP].
        types: 0 in the first segment, 1 in the second.
        labels: their numbers.
    """

    tokens: list[list[int]]
    types: list[list[int]]
    labels: list[int]


class ClassifiedBatch(NamedTuple):
    """One update's data on one rank, or a micro-batch of it.

    Attributes:
        tokens_RT: token ids, padded.
        types_RT: segments.
        labels_R: numbers of the labels; `NO_LABEL` in a row that counts nothing.
        num_examples: rows with a label.
        lengths: real tokens of each row, on the CPU.
        position: of the update.
    """

    tokens_RT: Tensor
    types_RT: Tensor
    labels_R: Tensor
    num_examples: int
    lengths: Ints
    position: Position

    @property
    def num_tokens(self) -> int:
        """Real tokens."""
        return int(self.lengths.sum())

    def without_terms(self) -> "ClassifiedBatch":
        """The same inputs, and nothing to answer:
        what a rank computes along with the others that has no rows.
        """
        return self._replace(
            labels_R=torch.full_like(self.labels_R, NO_LABEL),
            num_examples=0,
            lengths=np.zeros_like(self.lengths),
        )

    def split(self, rows: int) -> Iterator["ClassifiedBatch"]:
        """Micro-batches of at most ``rows`` rows."""
        for first in range(0, len(self.labels_R), rows):
            part = slice(first, first + rows)
            labels_R = self.labels_R[part]
            yield ClassifiedBatch(
                self.tokens_RT[part],
                self.types_RT[part],
                labels_R,
                min(self.num_examples, len(labels_R)),
                self.lengths[part],
                self.position,
            )


def encode(
    examples: Sequence[Example],
    tokenizer: SubwordTokenizer,
    labels: Sequence[str],
    max_length: int,
) -> EncodedExamples:
    """Ids of all texts, cut to ``max_length``: the longer segment loses its end first."""
    encoded = EncodedExamples([], [], [labels.index(example.label) for example in examples])
    firsts = tokenizer.encode([example.text for example in examples])
    seconds = tokenizer.encode([example.text_pair or "" for example in examples])
    for example, a, b in zip(examples, firsts, seconds, strict=True):
        room = max_length - (2 if example.text_pair is None else 3)
        in_a = max(min(len(a), (room + 1) // 2), min(len(a), room - len(b)))
        first = [CLS, *a[:in_a], SEP]
        second = [] if example.text_pair is None else [*b[: room - in_a], SEP]
        encoded.tokens.append(first + second)
        encoded.types.append([0] * len(first) + [1] * len(second))
    return encoded


class ClassificationBatches(BucketedBatches):
    """Training batches of all ranks.

    Raises:
        DataError: there are fewer examples than rows in a batch.
    """

    def __init__(
        self,
        examples: EncodedExamples,
        batch_size: int,
        *,
        seed: int,
        digest: str = "",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._examples = examples
        lengths = np.array([len(row) for row in examples.tokens])
        where = ("classification, training examples", "classification.common.batch_size")
        order = Bucketed(lengths, batch_size, seed=seed, stream="classification order", where=where)
        fingerprint = f"{digest} {seed} {batch_size}"
        super().__init__(order, fingerprint, rank=rank, world_size=world_size)

    def collate(self, rows: Ints, position: Position) -> ClassifiedBatch:
        """See `BucketedBatches.collate`."""
        return collate(self._examples, rows, position)


def in_order(examples: EncodedExamples, batch_size: int) -> Sequence[ClassifiedBatch]:
    """All examples as they come."""
    rows = np.arange(len(examples.labels))
    start = Position(0, 0, 0)

    def batch(number: int) -> ClassifiedBatch:
        return collate(examples, rows[number * batch_size : (number + 1) * batch_size], start)

    return MadeWhenAsked(-(-len(rows) // batch_size), batch)


def collate(
    examples: EncodedExamples, rows: npt.NDArray[np.int64], position: Position
) -> ClassifiedBatch:
    """Pad some examples into a batch."""
    lengths = [len(examples.tokens[row]) for row in rows]
    T = -(-max(lengths) // _LENGTH_STEP) * _LENGTH_STEP
    tokens_RT, types_RT = np.full((len(rows), T), PAD, np.int64), np.zeros((len(rows), T), np.int64)
    for number, row in enumerate(rows):
        tokens_RT[number, : lengths[number]] = examples.tokens[row]
        types_RT[number, : lengths[number]] = examples.types[row]
    labels_R = torch.tensor([examples.labels[row] for row in rows])
    tensors = torch.from_numpy(tokens_RT), torch.from_numpy(types_RT), labels_R
    return ClassifiedBatch(*tensors, len(rows), np.array(lengths), position)
