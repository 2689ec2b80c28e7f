"""Pretraining batches: position → the same tokens, pairs and masks wherever it is computed.

Shapes: R rows, T their length, S sequences (one per row, or several if packed), N real tokens, M
masked tokens.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.bert.epochs import Epochs
from pipelines.bert.masking import Masked, MaskRules, mask
from pipelines.bert.params import BertParams, Phase
from pipelines.bert.segment_pairs import PairRules, Pairs
from pipelines.formats.randomness import bits_block
from pipelines.formats.shards.arrays import DocumentShard
from pipelines.formats.vocabulary.special_tokens import CLS, PAD, SEP
from pipelines.frame.errors import DataError, broken_rule
from pipelines.frame.files import digest
from pipelines.training.positions import Position
from pipelines.training.sharing import MadeWhenAsked

Ints = npt.NDArray[np.int64]
_LENGTH_STEP = 8  # rows are padded to a multiple: few shapes, so matrix kernels are set up once


class PretrainingBatch(NamedTuple):
    """One update's data on one rank, or a micro-batch of it.

    Attributes:
        tokens_RT: token ids, some hidden.
        types_RT: 0 in [CLS] A [SEP], 1 in B [SEP].
        places_RT: place of each token in its sequence.
        sequences_RT: number of the sequence within its row, from 1; 0 is padding.
        first_S: flat place (row · T + column) of each sequence's [CLS].
        masked_M: flat places of the hidden tokens.
        labels_M: what they were.
        nsp_S: 0 B follows A (or the two are in order), 1 not.
        per_row: [3, R] on the CPU: sequences, masked tokens and real tokens of each row.
        spans: [2, S] on the CPU: flat place of each sequence's [CLS], and its tokens.
        attended: sum of squared sequence lengths.
        position: of the update.
    """

    tokens_RT: Tensor
    types_RT: Tensor
    places_RT: Tensor
    sequences_RT: Tensor
    first_S: Tensor
    masked_M: Tensor
    labels_M: Tensor
    nsp_S: Tensor
    per_row: Ints
    spans: Ints
    attended: int
    position: Position

    def without_terms(self) -> "PretrainingBatch":
        """The same rows, and nothing to answer:
        what a rank computes along with the others that has no rows.
        """
        none = self.labels_M[:0]
        per_row = np.zeros_like(self.per_row)
        return self._replace(
            first_S=none, masked_M=none, labels_M=none, nsp_S=none, per_row=per_row, attended=0
        )

    def split(self, rows: int) -> Iterator["PretrainingBatch"]:
        """Micro-batches of at most ``rows`` rows."""
        if rows >= len(self.tokens_RT):
            yield self
            return
        T = self.tokens_RT.shape[1]
        ends = np.concatenate([np.zeros((3, 1), np.int64), self.per_row.cumsum(axis=1)], axis=1)
        for first in range(0, len(self.tokens_RT), rows):
            end = min(first + rows, len(self.tokens_RT))
            in_rows = slice(first, end)
            in_s, in_m = (slice(int(ends[kind, first]), int(ends[kind, end])) for kind in (0, 1))
            yield _part(self, in_rows, in_s, in_m, first * T)


def _part(
    batch: PretrainingBatch, rows: slice, in_s: slice, in_m: slice, offset: int
) -> PretrainingBatch:
    """The part of a batch that begins ``offset`` flat places into it."""
    return batch._replace(
        tokens_RT=batch.tokens_RT[rows],
        types_RT=batch.types_RT[rows],
        places_RT=batch.places_RT[rows],
        sequences_RT=batch.sequences_RT[rows],
        first_S=batch.first_S[in_s] - offset,
        masked_M=batch.masked_M[in_m] - offset,
        labels_M=batch.labels_M[in_m],
        nsp_S=batch.nsp_S[in_s],
        per_row=batch.per_row[:, rows],
        spans=batch.spans[:, in_s] - np.array([[offset], [0]]),
    )


@dataclass(frozen=True)
class DocumentSplit:
    """Which data, seen by whom.

    Attributes:
        shard: documents.
        seed: of the project.
        purpose: name of the random streams, ``train`` or ``valid``.
        mask_rate: share of tokens to hide.
        vocab_size: V.
        continues: [V], pieces that go on with a word, for whole-word masking.
        digest: of the shard's files.
        rank: this process takes every ``world_size``-th row, from ``rank`` on.
        world_size: number of processes.
        folder: where epoch plans are kept; None for a place that vanishes.
    """

    shard: DocumentShard
    seed: int
    purpose: str
    mask_rate: float
    vocab_size: int
    continues: npt.NDArray[np.bool_] | None = None
    digest: str = ""
    rank: int = 0
    world_size: int = 1
    folder: Path | None = None


class PretrainingBatches:
    """Batches of one split.

    Raises:
        DataError: there is no other document for a random pair; when read, fewer rows than a batch
            takes.
    """

    def __init__(self, split: DocumentSplit, params: BertParams) -> None:
        self._split, self._params = split, params
        self.shard, self.vocab_size = split.shard, split.vocab_size
        self._ends = np.cumsum([phase.updates for phase in params.phases])
        self._epochs = Epochs(
            split.shard,
            seed=split.seed,
            purpose=split.purpose,
            packed=params.segments.packed,
            folder=split.folder,
        )
        decisive = params.model_dump(mode="json", include={"segments", "masking", "phases"})
        self.fingerprint = digest([split.digest, split.seed, split.purpose, json.dumps(decisive)])
        self._check_documents()

    def phase(self, update: int) -> Phase:
        """The phase an update belongs to; the last one after the end."""
        return self._params.phases[self._phase_number(update)]

    def _phase_number(self, update: int) -> int:
        return min(int(np.searchsorted(self._ends, update, "right")), len(self._ends) - 1)

    def num_rows(self, position: Position) -> int:
        """Rows of the update, all ranks together."""
        return self._batch_size(position.update) or self.rows_in_epoch(position)

    def rows_in_epoch(self, position: Position) -> int:
        """Rows of the whole epoch."""
        return len(self._epochs(position.epoch, self._rules(self.phase(position.update))))

    def after(self, position: Position) -> Position:
        """The next update: further on in the epoch,
        or in the next one if a whole batch no longer fits.
        """
        update = position.update + 1
        phase, following = self.phase(position.update), self.phase(update)
        taken = position.samples + self.num_rows(position)
        left = self.rows_in_epoch(position) - taken
        if following is phase and 0 < self._batch_size(update) <= left:
            return Position(update, position.epoch, taken)
        return Position(update, position.epoch + 1, 0)

    def __call__(self, position: Position) -> PretrainingBatch:
        """This rank's part of the batch of one update."""
        return self._batch(position, self.num_rows(position))

    def all(self) -> Sequence[PretrainingBatch]:
        """All rows of the last phase's first epoch: for validation."""
        update = int(self._ends[-1]) - 1
        num_rows = self.rows_in_epoch(Position(update, 0, 0))
        size = self._batch_size(update) or num_rows

        def batch(number: int) -> PretrainingBatch:
            first = number * size
            return self._batch(Position(update, 0, first), min(size, num_rows - first))

        return MadeWhenAsked(-(-num_rows // size) if num_rows else 0, batch)

    def _batch(self, position: Position, num_rows: int) -> PretrainingBatch:
        split, phase = self._split, self.phase(position.update)
        rules = self._rules(phase)
        epoch = self._epochs(position.epoch, rules)
        bounds = np.asarray(epoch.rows[position.samples : position.samples + num_rows + 1])
        if len(bounds) <= num_rows:
            rule = f"be at least one batch ({num_rows})"
            remedy = "lower batch_size in bert.phases or add documents"
            raise DataError(
                broken_rule(f"bert, {split.purpose} documents", "rows", len(epoch), rule, remedy)
            )
        masking = MaskRules(
            split.mask_rate, phase.max_predictions, split.vocab_size, split.continues
        )
        bits = bits_block(
            split.seed,
            f"{split.purpose} masks",
            epoch=position.epoch,
            first=int(bounds[0]),
            count=int(bounds[-1] - bounds[0]),
            width=masking.num_draws(rules.max_length),
        )
        row_S = np.repeat(np.arange(num_rows), np.diff(bounds))
        pairs = epoch.pairs[bounds[0] : bounds[-1]]
        # A rank without rows computes the first row along with the others, and counts nothing.
        idle = num_rows <= split.rank
        if split.world_size > 1:
            mine = row_S == 0 if idle else row_S % split.world_size == split.rank
            pairs, bits, row_S = pairs[mine], bits[mine], row_S[mine] // split.world_size
        num_rows = len(range(split.rank, num_rows, split.world_size)) or 1
        sequences = assemble(split.shard, pairs, rules)
        masked = mask(sequences.tokens_N, sequences.lengths_S, bits, masking)
        width = rules.max_length if self._params.segments.packed else 0
        batch = _collate(sequences, masked, row_S, num_rows, width, position)
        return batch.without_terms() if idle else batch

    def _rules(self, phase: Phase) -> PairRules:
        segments = self._params.segments
        return PairRules(segments.nsp, phase.max_length, segments.short_rate)

    def _batch_size(self, update: int) -> int:
        """Rows of an update, all ranks together; 0 for the whole epoch."""
        phase = self.phase(update)
        if phase.batch_size == "full":
            return 0
        first = int(self._ends[self._phase_number(update)]) - phase.updates
        if phase.ramp == "none" or update - first >= phase.ramp.updates:
            return phase.batch_size
        start = phase.ramp.from_batch_size
        return start + (phase.batch_size - start) * (update - first) // phase.ramp.updates

    def _check_documents(self) -> None:
        if self._params.segments.nsp != "random":
            return
        for language, (first, end) in self._split.shard.languages.items():
            if end - first < 2:
                where = f"bert, {self._split.purpose} documents ({language})"
                rule = "be at least 2: a pair needs another"
                raise DataError(
                    broken_rule(
                        where, "documents", end - first, rule, "add some, or set segments.nsp: sop"
                    )
                )


@dataclass(frozen=True)
class Sequences:
    """[CLS] A [SEP] B [SEP], sequence after sequence.

    Attributes:
        tokens_N: token ids.
        types_N: 0 up to the first [SEP], then 1.
        places_N: place in the sequence.
        lengths_S: special tokens included.
        labels_S: of the pairs.
    """

    tokens_N: Ints
    types_N: Ints
    places_N: Ints
    lengths_S: Ints
    labels_S: Ints


def assemble(shard: DocumentShard, pairs: Pairs, rules: PairRules) -> Sequences:
    """Token ids of some pairs.

    Sentences of a document are neighbours in the shard, so a segment is one slice. A shard of the
    tokens 10 … 19, A its tokens 2 and 3, B its tokens 6 to 8:

    >>> from types import SimpleNamespace
    >>> from pipelines.bert.segment_pairs import PAIR
    >>> shard = SimpleNamespace(sentences=SimpleNamespace(tokens=np.arange(10, 20)))
    >>> pairs = np.array([(2, 6, 2, 3, 1)], PAIR)
    >>> found = assemble(shard, pairs, PairRules("random", 16, 0.0))
    >>> found.tokens_N.tolist()  # [CLS] 12 13 [SEP] 16 17 18 [SEP]
    [2, 12, 13, 3, 16, 17, 18, 3]
    >>> found.types_N.tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    a_size, b_size = pairs["a_size"].astype(np.int64), pairs["b_size"].astype(np.int64)
    lengths = a_size + b_size + rules.num_special
    ends = np.cumsum(lengths)
    # Place of each token in its sequence, and whether it stands after the first [SEP].
    places = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    in_b = places > np.repeat(a_size + 1, lengths)
    # Where each token stands in the shard: A begins at place 1, B at place a_size + 2.
    source = places + np.where(
        in_b,
        np.repeat(pairs["b_first"] - a_size - 2, lengths),
        np.repeat(pairs["a_first"] - 1, lengths),
    )
    # The places of special tokens are read from anywhere and then overwritten.
    first = ends - lengths
    source[first], source[first + a_size + 1], source[ends - 1] = 0, 0, 0
    tokens = shard.sentences.tokens[source].astype(np.int64)
    tokens[first], tokens[first + a_size + 1], tokens[ends - 1] = CLS, SEP, SEP
    return Sequences(
        tokens, in_b.astype(np.int64), places, lengths, pairs["label"].astype(np.int64)
    )


def _collate(
    sequences: Sequences, masked: Masked, row_S: Ints, num_rows: int, width: int, position: Position
) -> PretrainingBatch:
    """Lay sequences into rows of ``width`` columns; 0: one per row, as wide as the longest.

    Sequences of 4, 3 and 5 tokens, the first two in row 0, the third in row 1, T = 8 columns:
    ``starts`` is 0, 4, 7, ``column_S`` 0, 4, 0 and ``flat_S`` 0, 4, 8, the [CLS] of each sequence
    in the flattened batch. ``flat_N`` are the flat places of all twelve tokens, 0 … 6 and 8 … 12.
    """
    lengths = sequences.lengths_S
    T = width or -(-int(lengths.max()) // _LENGTH_STEP) * _LENGTH_STEP
    starts = np.cumsum(lengths) - lengths
    # The column in which a sequence begins: the lengths of those before it in its row.
    first_in_row = np.searchsorted(row_S, np.arange(num_rows))
    column_S = starts - starts[first_in_row[row_S]]
    flat_S = row_S * T + column_S
    flat_N = np.repeat(flat_S - starts, lengths) + np.arange(len(sequences.tokens_N))

    def laid(values: Ints) -> Tensor:
        rows = np.full(num_rows * T, PAD, np.int64)
        rows[flat_N] = values
        return torch.from_numpy(rows.reshape(num_rows, T))

    tokens = sequences.tokens_N.copy()
    tokens[masked.where] = masked.shown
    number_S = np.arange(len(row_S)) - first_in_row[row_S] + 1
    weights = (np.ones_like(lengths), masked.counts, lengths)
    return PretrainingBatch(
        laid(tokens),
        laid(sequences.types_N),
        laid(sequences.places_N),
        laid(np.repeat(number_S, lengths)),
        torch.from_numpy(flat_S),
        torch.from_numpy(flat_N[masked.where]),
        torch.from_numpy(masked.labels),
        torch.from_numpy(sequences.labels_S),
        np.stack([np.bincount(row_S, weight, num_rows) for weight in weights]).astype(np.int64),
        np.stack([flat_S, lengths]),
        int((lengths**2).sum()),
        position,
    )
