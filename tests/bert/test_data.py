"""Batches: rows as BERT wants them, and the same ones for any number of ranks, loaders and
micro-batches.
"""

import hashlib
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.pretrain import open_batches
from pipelines.formats.vocabulary.special_tokens import CLS, PAD, SEP
from pipelines.frame.errors import CheckpointError, DataError
from pipelines.training.positions import Batches, Position, load_position, save_position
from tests.bert.sample import PHASE, bert_params, documents, two_languages


def _batches(shard, params=None, **split) -> PretrainingBatches:
    return PretrainingBatches(
        DocumentSplit(shard, 1, "t", 0.15, 300, **split), params or bert_params()
    )


START = Position(0, 0, 0)


def _positions(batches, count):
    found = [START]
    while len(found) < count:
        found.append(batches.after(found[-1]))
    return found


@pytest.fixture(scope="module")
def shard():
    return two_languages()


@pytest.mark.parametrize("packed", [False, True])
def test_batch_rows_are_cls_a_sep_b_sep(shard, packed):
    batches = _batches(shard, bert_params(segments={"packed": packed}))
    for position in _positions(batches, 10):
        batch = batches(position)
        tokens = batch.tokens_RT.flatten().clone()
        tokens[batch.masked_M] = batch.labels_M
        types, places, numbers = (
            x.flatten() for x in (batch.types_RT, batch.places_RT, batch.sequences_RT)
        )
        assert (tokens[numbers == 0] == PAD).all()
        T = batch.tokens_RT.shape[1]
        for first, label in zip(batch.first_S.tolist(), batch.nsp_S.tolist(), strict=True):
            row = first // T
            mine = [i for i in range(row * T, row * T + T) if numbers[i] == numbers[first]]
            n = len(mine)
            assert mine == list(range(first, first + n))
            assert places[mine].tolist() == list(range(n))
            assert n <= 32
            assert tokens[first] == CLS
            assert tokens[first + n - 1] == SEP
            middle = int((types[mine] == 0).sum()) - 1
            assert tokens[first + middle] == SEP
            a = set(tokens[mine[1:middle]].tolist())
            b = set(tokens[mine[middle + 1 : n - 1]].tolist())
            assert len(a) == len(b) == 1  # one token per document: each segment is of one document
            assert (a == b) == (label == 0)
        real = (batch.sequences_RT > 0).sum(dim=1).numpy()
        np.testing.assert_array_equal(batch.per_row[2], real)
        assert batch.per_row[0].sum() == len(batch.first_S)
        assert batch.per_row[1].sum() == len(batch.masked_M)


def test_batches_of_an_epoch_hold_every_pair_once(shard):
    batches = _batches(shard, bert_params(phases={"batch_size": "full"}))
    whole = batches(START)
    small = _batches(shard)
    firsts = [
        batch
        for position in _positions(small, 60)
        if position.epoch == 0
        for batch in [small(position)]
    ]
    rows = [row for batch in firsts for row in batch.labels_M.tolist()]
    assert rows == whole.labels_M.tolist()[: len(rows)]
    assert (
        len(whole.tokens_RT) - 8
        < sum(len(batch.tokens_RT) for batch in firsts)
        <= len(whole.tokens_RT)
    )
    assert batches.after(START) == Position(1, 1, 0)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("world_size", [2, 4])
def test_batch_is_the_same_for_any_number_of_ranks(shard, packed, world_size):
    params = bert_params(segments={"packed": packed})
    for position in _positions(_batches(shard, params), 6):
        whole = _batches(shard, params)(position)
        parts = [
            _batches(shard, params, rank=rank, world_size=world_size)(position)
            for rank in range(world_size)
        ]
        T = whole.tokens_RT.shape[1]
        for rank, part in enumerate(parts):
            rows = whole.tokens_RT[rank::world_size]
            width = part.tokens_RT.shape[1]
            assert torch.equal(part.tokens_RT, rows[:, :width])
            assert not rows[:, width:].any()
            mine = (whole.masked_M // T) % world_size == rank
            assert part.labels_M.tolist() == whole.labels_M[mine].tolist()
        assert sum(int(part.nsp_S.sum()) for part in parts) == int(whole.nsp_S.sum())


@pytest.mark.parametrize("packed", [False, True])
def test_batch_split_into_micro_batches_is_the_batch(shard, packed):
    batches = _batches(shard, bert_params(segments={"packed": packed}))
    whole = batches(START)
    parts = list(whole.split(3))
    assert [len(part.tokens_RT) for part in parts] == [3, 3, 2]
    assert torch.equal(torch.cat([part.tokens_RT for part in parts]), whole.tokens_RT)
    assert torch.equal(torch.cat([part.labels_M for part in parts]), whole.labels_M)
    assert torch.equal(torch.cat([part.nsp_S for part in parts]), whole.nsp_S)
    for part in parts:
        assert (part.tokens_RT.flatten()[part.first_S] == CLS).all()
        assert len(part.labels_M) == len(part.masked_M) == part.per_row[1].sum()


def _digest(loaded) -> list[str]:
    return [
        hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in batch[:8])).hexdigest()
        for batch in loaded
    ]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_are_the_same_for_any_number_of_loader_processes(shard, workers):
    batches = _batches(shard)
    straight = _digest(Batches(batches, START, 30))
    loader = torch.utils.data.DataLoader(
        Batches(batches, START, 30),
        batch_size=None,
        collate_fn=lambda batch: batch,
        num_workers=workers,
    )
    assert _digest(loader) == straight


def test_batches_from_any_position_go_on_where_they_stood(shard):
    batches = _batches(shard, bert_params(segments={"packed": True}))
    straight, positions = _digest(Batches(batches, START, 20)), _positions(batches, 20)
    for update in (1, 7, 19):
        saved = save_position(batches, positions[update])
        again = _batches(shard, bert_params(segments={"packed": True}))
        position = load_position(again, saved, "x.ckpt")
        assert _digest(Batches(again, position, 20)) == straight[update:]


def test_position_of_other_data_is_refused(shard):
    saved = save_position(_batches(shard), Position(3, 0, 24))
    with pytest.raises(CheckpointError, match=r"x\.ckpt: its data .* must be the data at hand"):
        load_position(_batches(shard, digest="other"), saved, "x.ckpt")


def test_seeds_side_by_side_share_no_stream(shard):
    """Megatron seeds with seed + index, so that seeds s and s + 1 give the same draws one sample
    apart.
    """
    rows = []
    for seed in (1, 2):
        batches = PretrainingBatches(DocumentSplit(shard, seed, "t", 0.15, 300), bert_params())
        rows.append(
            {
                str(row)
                for position in _positions(batches, 5)
                for row in batches(position).tokens_RT.tolist()
            }
        )
    assert not rows[0] & rows[1]


def test_phases_change_length_and_size_and_begin_a_new_epoch(shard):
    phases = [{**PHASE, "updates": 3}, {**PHASE, "updates": 2, "batch_size": 4, "max_length": 64}]
    batches = _batches(shard, bert_params(phases=phases))
    positions = _positions(batches, 5)
    assert positions[3] == Position(3, 1, 0)
    assert [len(batches(position).tokens_RT) for position in positions] == [8, 8, 8, 4, 4]
    assert max(batches(position).tokens_RT.shape[1] for position in positions[3:]) > 32


def test_ramp_grows_on_a_line(shard):
    phases = {"updates": 10, "batch_size": 10, "ramp": {"from_batch_size": 2, "updates": 4}}
    batches = _batches(shard, bert_params(phases=phases))
    assert [batches.num_rows(position) for position in _positions(batches, 6)] == [
        2,
        4,
        6,
        8,
        10,
        10,
    ]


def test_packed_rows_are_full():
    shard = documents([3] * 800, {"en": (0, 800)})
    batches = _batches(
        shard,
        bert_params(segments={"packed": True}, phases={"batch_size": "full", "max_length": 64}),
    )
    batch = batches(START)
    assert (batch.sequences_RT > 0).double().mean() > 0.98


def test_too_few_rows_are_refused(shard):
    batches = _batches(shard, bert_params(phases={"batch_size": 5000}))
    with pytest.raises(DataError, match=r"must be at least one batch \(5000\)"):
        batches(START)


def test_single_document_is_refused_for_random_pairs_and_does_for_others():
    shard = documents([20], {"en": (0, 1)})
    with pytest.raises(
        DataError, match=r"must be at least 2: a pair needs another; .*set segments.nsp: sop"
    ):
        _batches(shard)
    for nsp in ("sop", "none"):
        batch = _batches(shard, bert_params(segments={"nsp": nsp}, phases={"batch_size": 1}))(START)
        assert len(batch.tokens_RT) == 1


def test_memory_of_a_batch_does_not_grow_with_the_corpus(tmp_path):
    """The plan lies on disk once it is made; NumPy tells tracemalloc of every array."""
    peaks = []
    for count in (500, 5_000):
        split = DocumentSplit(
            documents([8] * count, {"en": (0, count)}),
            1,
            "train",
            0.15,
            6_000,
            folder=tmp_path / str(count),
        )
        PretrainingBatches(split, bert_params())(Position(0, 0, 0))
        tracemalloc.start()
        batches, position = PretrainingBatches(split, bert_params()), Position(0, 0, 0)
        for _ in range(3):
            batches(position)
            position = batches.after(position)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0], peaks


def test_training_and_validation_mask_at_rates_of_their_own(reproduced, tmp_path, monkeypatch):
    monkeypatch.chdir(reproduced)
    rates = {"rate": 0.4, "evaluation_rate": 0.1, "whole_words": False}
    params = bert_params(
        masking=rates, phases={"batch_size": "full", "max_length": 64, "max_predictions": 64}
    )
    run = SimpleNamespace(seed=1, origin={"data": ""}, folder=SimpleNamespace(checkpoints=tmp_path))
    for batches, rate in zip(
        open_batches(run, params, rank=0, world_size=1), (0.4, 0.1), strict=True
    ):
        _, masked, real = batches(Position(0, 0, 0)).per_row.sum(axis=1)
        assert abs(masked / real - rate) < 0.015
