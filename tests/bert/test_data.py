"""Segment pairs and masks: google-research/bert's invariants, statistics, and invariance of the batches."""

import numpy as np
import pytest

from pipelines.bert.data import SegmentBatches
from pipelines.bert.masking import mask, num_draws
from pipelines.bert.params import (
    BertModelParams,
    BertParams,
    BertTrainingParams,
    MaskingParams,
    SegmentParams,
)
from pipelines.bert.segments import plan_segments
from pipelines.errors import DataError
from pipelines.shards.format import DocumentShard, Ragged
from pipelines.tokenizer.special_tokens import CLS, MASK, PAD, SEP
from tests.optimization import OPTIMIZATION

SEGMENTS = SegmentParams(min_sentences=2, max_sentences=3, max_length=32)
MASKING = MaskingParams(rate=0.15, max_predictions=6)


def _params(batch_size: int = 8) -> BertParams:
    return BertParams(
        model=BertModelParams(
            num_layers=1,
            width=8,
            num_heads=2,
            feed_forward_width=8,
            dropout=0.0,
            max_positions=32,
            initializer_range=0.02,
        ),
        segments=SEGMENTS,
        masking=MASKING,
        training=BertTrainingParams(**{**OPTIMIZATION, "batch_size": batch_size}, learning_rate=1.0),
    )


@pytest.fixture(scope="module")
def shard() -> DocumentShard:
    """200 documents in two languages; token = 5 + document, so a token tells its document."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 200)
    sizes[0] = 1
    rows = [[5 + document] * rng.integers(1, 9) for document, size in enumerate(sizes) for _ in range(size)]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    tokens = np.concatenate(rows).astype(np.uint16)
    return DocumentShard(
        Ragged(tokens, offsets), np.concatenate([[0], np.cumsum(sizes)]), {"en": (0, 90), "de": (90, 200)}
    )


def _document_of(shard: DocumentShard, sentence: np.ndarray) -> np.ndarray:
    return np.searchsorted(shard.documents, sentence, side="right") - 1


@pytest.fixture(scope="module")
def plan(shard):
    plans = [plan_segments(shard, SEGMENTS, seed=1, purpose="t", epoch=epoch, batch_size=1) for epoch in range(60)]
    return {name: np.concatenate([getattr(plan, name) for plan in plans]) for name in vars(plans[0])}


def test_plan_segments_stay_within_one_document_each(shard, plan):
    for first, end in (("a_first", "a_end"), ("b_first", "b_end")):
        np.testing.assert_array_equal(_document_of(shard, plan[first]), _document_of(shard, plan[end] - 1))
        size = plan[end] - plan[first]
        assert size.min() >= 1
        assert size.max() <= SEGMENTS.max_sentences


def test_plan_segments_next_follows_and_random_is_another_document_of_the_language(shard, plan):
    a, b = _document_of(shard, plan["a_first"]), _document_of(shard, plan["b_first"])
    follows = plan["label"] == 0
    np.testing.assert_array_equal(plan["b_first"][follows], plan["a_end"][follows])
    assert (a[follows] == b[follows]).all()
    assert (a[~follows] != b[~follows]).all()
    assert ((a[~follows] < 90) == (b[~follows] < 90)).all()


def test_plan_segments_labels_are_a_fair_coin_and_negatives_uniform(shard, plan):
    n = len(plan["label"])
    assert abs(plan["label"].mean() - 0.5) < 4 * 0.5 / np.sqrt(n)
    negatives = _document_of(shard, plan["b_first"])[plan["label"] == 1]
    german = np.bincount(negatives[negatives >= 90] - 90, minlength=110)
    expected = german.sum() / 110
    assert ((german - expected) ** 2 / expected).sum() < 160  # 0.999 quantile of chi-square, 109 degrees: 157


def test_plan_segments_two_documents_never_pair_with_themselves():
    shard = DocumentShard(Ragged(np.arange(5, 13, dtype=np.uint16), np.arange(9)), np.array([0, 4, 8]), {"en": (0, 2)})
    for epoch in range(50):
        plan = plan_segments(shard, SEGMENTS, seed=1, purpose="t", epoch=epoch, batch_size=1)
        other = (plan.a_first < 4) != (plan.b_first < 4)
        np.testing.assert_array_equal(other, plan.label == 1)


def _masked(rows: int = 4000, length: int = 24):
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 1000, (rows, length))
    tokens[:, 0], tokens[:, 9], tokens[:, length - 1] = CLS, SEP, SEP
    lengths = np.full(rows, length)
    draws = rng.random((rows, num_draws(32, MASKING)))
    return tokens, mask(tokens, lengths, draws, MASKING, max_length=32, vocab_size=1000)


@pytest.mark.parametrize(("length", "count"), [(10, 2), (24, 4), (3, 0), (128, 6)])
def test_mask_count_is_exact(length, count):
    """min(max_predictions, max(1, round(length · rate))), and never more than there are words."""
    tokens = np.full((2, length), 50)
    tokens[:, 0] = CLS
    tokens[:, -2:] = SEP
    params = MaskingParams(rate=0.15, max_predictions=6)
    draws = np.random.default_rng(0).random((2, num_draws(128, params)))
    found = mask(tokens, np.array([length, length]), draws, params, max_length=128, vocab_size=100)
    assert len(found.positions) == 2 * count


def test_mask_never_touches_special_tokens_and_labels_are_the_originals():
    tokens, found = _masked()
    flat = tokens.flatten()
    np.testing.assert_array_equal(flat[found.positions], found.labels)
    assert found.labels.min() >= 5
    untouched = np.ones(flat.size, bool)
    untouched[found.positions] = False
    np.testing.assert_array_equal(found.tokens.flatten()[untouched], flat[untouched])


def test_mask_is_80_10_10_and_uniform_over_positions():
    _, found = _masked()
    given = found.tokens.flatten()[found.positions]
    n = len(given)
    masked, kept = (given == MASK).sum(), (given == found.labels).sum()
    expected = np.array([0.8, 0.1, 0.1]) * n
    observed = np.array([masked, kept, n - masked - kept])
    assert ((observed - expected) ** 2 / expected).sum() < 13.8  # 0.999 quantile, 2 degrees
    columns = np.bincount(found.positions % 24, minlength=24)
    words = columns[columns > 0]
    assert len(words) == 21
    assert ((words - words.mean()) ** 2 / words.mean()).sum() < 45.3  # 0.999 quantile, 20 degrees


def test_batches_are_the_same_for_any_number_of_ranks(shard):
    def batches(rank: int, world_size: int) -> SegmentBatches:
        return SegmentBatches(shard, _params(), seed=1, purpose="t", vocab_size=300, rank=rank, world_size=world_size)

    whole = batches(0, 1)
    for update in (0, 5, len(whole), 3 * len(whole) + 1):
        one = whole(update)
        for world_size in (2, 4):
            for rank in range(world_size):
                part = batches(rank, world_size)(update)
                T = part.tokens_BT.shape[1]
                assert part.tokens_BT.tolist() == one.tokens_BT[rank::world_size, :T].tolist()
                assert part.nsp_B.tolist() == one.nsp_B[rank::world_size].tolist()
        assert not (one.tokens_BT[:, max(one.lengths_B) :] != PAD).any()


def test_batches_of_two_epochs_have_other_pairs_and_masks(shard):
    batches = SegmentBatches(shard, _params(), seed=1, purpose="t", vocab_size=300)
    first = [batches(update).tokens_BT.numpy().tobytes() for update in range(len(batches))]
    second = [batches(update + len(batches)).tokens_BT.numpy().tobytes() for update in range(len(batches))]
    assert not set(first) & set(second)


def test_batch_is_cls_a_sep_b_sep_within_the_length(shard):
    batches = SegmentBatches(shard, _params(), seed=1, purpose="t", vocab_size=300)
    for update in range(10):
        batch = batches(update)
        original = batch.tokens_BT.flatten().clone()
        original[batch.positions_M] = batch.labels_M
        for row, types, length, label in zip(
            original.view_as(batch.tokens_BT), batch.types_BT, batch.lengths_B, batch.nsp_B, strict=True
        ):
            n = int(length)
            assert n <= SEGMENTS.max_length
            assert row[0] == CLS
            assert row[n - 1] == SEP
            middle = int((types == 0)[:n].sum()) - 1
            assert row[middle] == SEP
            a, b = set(row[1:middle].tolist()), set(row[middle + 1 : n - 1].tolist())
            assert len(a) == len(b) == 1  # one token per document: each segment is of one document
            assert (a == b) == (label == 0)


def test_batches_with_too_few_documents_are_refused(shard):
    with pytest.raises(DataError, match=r"must be at least one batch \(500\)"):
        SegmentBatches(shard, _params(500), seed=1, purpose="t", vocab_size=300)
