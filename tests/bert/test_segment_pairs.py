"""Segment pairs: the invariants of google-research/bert, their statistics, and a walk through its
own algorithm.
"""

import random

import numpy as np
import pytest

from pipelines.bert.segment_pairs import PairRules, make_pairs
from pipelines.formats.shards.arrays import DocumentShard, Ragged
from tests.bert.sample import documents, two_languages

RULES = PairRules("random", max_length=32, short_rate=0.1)


def _plan(shard, rules=RULES, epochs=1, seed=1):
    return np.concatenate(
        [
            part
            for epoch in range(epochs)
            for part in make_pairs(shard, rules, seed=seed, purpose="t", epoch=epoch)
        ]
    )


def _document_of(shard, token):
    return np.searchsorted(shard.sentences.offsets[shard.documents], token, side="right") - 1


@pytest.fixture(scope="module")
def shard():
    return two_languages()


@pytest.fixture(scope="module")
def plan(shard):
    return _plan(shard, epochs=60)


def test_plan_segments_are_not_empty_fit_and_stay_within_one_document(shard, plan):
    assert (plan["a_size"] + plan["b_size"] + 3).max() == 32
    for segment in "ab":
        first, size = plan[f"{segment}_first"], plan[f"{segment}_size"]
        assert size.min() >= 1
        np.testing.assert_array_equal(
            _document_of(shard, first), _document_of(shard, first + size - 1)
        )


def test_plan_next_is_of_the_document_and_random_of_another_one_of_the_language(shard, plan):
    a, b = _document_of(shard, plan["a_first"]), _document_of(shard, plan["b_first"])
    follows = plan["label"] == 0
    assert (a[follows] == b[follows]).all()
    assert (a[~follows] != b[~follows]).all()
    assert ((a < 90) == (b < 90)).all()
    uncut = follows & (plan["a_size"] + plan["b_size"] < RULES.room)
    np.testing.assert_array_equal((plan["a_first"] + plan["a_size"])[uncut], plan["b_first"][uncut])


def test_plan_two_documents_never_pair_with_themselves():
    """google-research/bert takes the same document after ten draws; NVIDIA's copy always does with
    one.
    """
    shard = documents([4, 4], {"en": (0, 2)})
    plan = _plan(shard, epochs=200)
    other = _document_of(shard, plan["a_first"]) != _document_of(shard, plan["b_first"])
    np.testing.assert_array_equal(other, plan["label"] == 1)


def test_plan_negatives_are_uniform_over_the_other_documents():
    shard = documents([5] * 40, {"en": (0, 40)})
    plan = _plan(shard, epochs=300)
    counts = np.bincount(_document_of(shard, plan["b_first"])[plan["label"] == 1], minlength=40)
    expected = counts.sum() / 40
    assert (
        (counts - expected) ** 2 / expected
    ).sum() < 72.1  # 0.999 quantile of chi-square, 39 degrees


def test_plan_every_sentence_is_used_in_every_epoch(shard):
    """Unused sentences are put back: nothing of a document is lost but what is cut off a pair that
    is too long.
    """
    long = PairRules("random", max_length=500, short_rate=0.0)
    plan = _plan(shard, long)
    seen = np.zeros(len(shard.sentences.tokens), int)
    for pair in plan:
        seen[pair["a_first"] : pair["a_first"] + pair["a_size"]] += 1
        if pair["label"] == 0:
            seen[pair["b_first"] : pair["b_first"] + pair["b_size"]] += 1
    assert (seen == 1).all()


def _googles_pairs(document, target, rng):
    """Sizes and labels as create_instances_from_document makes them: (sentences in A, in B,
    label).
    """
    pairs, chunk, i = [], [], 0
    while i < len(document):
        chunk.append(document[i])
        if i == len(document) - 1 or sum(chunk) >= target:
            a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
            if len(chunk) == 1 or rng.random() < 0.5:
                pairs.append((a_end, None, 1))
                i -= len(chunk) - a_end
            else:
                pairs.append((a_end, len(chunk) - a_end, 0))
            chunk = []
        i += 1
    return pairs


def test_plan_has_the_distribution_of_the_original_algorithm():
    """Sentences of 4 tokens, 9 to a document, target 20: mean pairs, label rate and sizes within 4
    standard errors.
    """
    tokens = np.full(4 * 9 * 200, 7, np.uint16)
    shard = DocumentShard(
        Ragged(tokens, np.arange(0, len(tokens) + 1, 4)), np.arange(0, 1801, 9), {"en": (0, 200)}
    )
    ours = _plan(shard, PairRules("random", max_length=23, short_rate=0.0), epochs=50)
    rng = random.Random(0)
    theirs = [_googles_pairs([4] * 9, 20, rng) for _ in range(10000)]
    pairs = [pair for document in theirs for pair in document]
    assert len(ours) / 10000 == pytest.approx(len(pairs) / 10000, rel=0.01)
    assert ours["label"].mean() == pytest.approx(np.mean([pair[2] for pair in pairs]), abs=0.01)
    a, b = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs if pair[1]])
    np.testing.assert_allclose(
        np.bincount(ours["a_size"] // 4, minlength=6) / len(ours),
        np.bincount(a, minlength=6) / len(a),
        atol=0.01,
    )
    following = ours[ours["label"] == 0]["b_size"] // 4
    np.testing.assert_allclose(
        np.bincount(following, minlength=6) / len(following),
        np.bincount(b, minlength=6) / len(b),
        atol=0.015,
    )


def test_plan_short_documents_aim_at_a_uniform_length_and_are_a_tenth():
    shard = documents([30] * 2000, {"en": (0, 2000)}, words=2)  # sentences of one token
    plan = _plan(shard, PairRules("none", max_length=22, short_rate=0.1))
    lengths, document = plan["a_size"], _document_of(shard, plan["a_first"])
    first = np.unique(document, return_index=True)[1]
    short = lengths[first] < 20
    assert short.mean() == pytest.approx(0.1 * 18 / 19, abs=4 * 0.3 / np.sqrt(2000))
    assert lengths[first][short].min() == 2
    for number in np.unique(document[np.isin(document, document[first][short])])[:20]:
        assert len(set(lengths[document == number][:-1])) == 1  # one target for the whole document


def test_plan_cut_takes_the_longer_segment_at_both_ends():
    tokens = np.full(4000, 7, np.uint16)
    offsets = np.arange(0, 4001, 10)
    shard = DocumentShard(Ragged(tokens, offsets), np.arange(0, 401, 20), {"en": (0, 20)})
    plan = _plan(shard, PairRules("random", max_length=18, short_rate=0.0), epochs=100)
    assert set(zip(plan["a_size"].tolist(), plan["b_size"].tolist(), strict=True)) == {(8, 7)}
    front = plan["a_first"] % 10
    assert set(front.tolist()) >= {0, 1, 2}
    # two tokens lost, each in front with probability ½
    assert front[front < 3].mean() == pytest.approx(1.0, abs=0.15)


def test_plan_sop_keeps_or_swaps_neighbours(shard):
    plan = _plan(shard, PairRules("sop", max_length=64, short_rate=0.1), epochs=20)
    a, b = plan["a_first"], plan["b_first"]
    np.testing.assert_array_equal(_document_of(shard, a), _document_of(shard, b))
    np.testing.assert_array_equal(a > b, plan["label"] == 1)
    assert plan["label"].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(plan)))


def test_plan_none_has_no_second_segment(shard):
    plan = _plan(shard, PairRules("none", max_length=32, short_rate=0.1))
    assert not plan["b_size"].any()
    assert not plan["label"].any()
    assert plan["a_size"].max() <= 30


def test_plan_is_a_function_of_seed_and_epoch(shard):
    assert _plan(shard).tobytes() == _plan(shard).tobytes()
    assert _plan(shard).tobytes() != _plan(shard, seed=2).tobytes()
    assert _plan(shard).tobytes() != _plan(shard, epochs=2)[len(_plan(shard)) :].tobytes()
