"""Masks: exact counts, 80/10/10, specials never, words whole."""

import numpy as np
import pytest

from pipelines.bert.masking import MaskRules, mask
from pipelines.formats.vocabulary.special_tokens import CLS, MASK, SEP

RULES = MaskRules(rate=0.15, max_predictions=6, vocab_size=1000)


def _bits(sequences: int, rules: MaskRules, max_length: int = 128) -> np.ndarray:
    shape = (sequences, rules.num_draws(max_length))
    return np.random.default_rng(0).integers(0, 2**32, shape, dtype=np.uint32)


def _masked(sequences: int = 4000, length: int = 24):
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 1000, (sequences, length))
    tokens[:, 0], tokens[:, 9], tokens[:, length - 1] = CLS, SEP, SEP
    found = mask(tokens.ravel(), np.full(sequences, length), _bits(sequences, RULES), RULES)
    return tokens, found


@pytest.mark.parametrize(("length", "count"), [(10, 2), (24, 4), (4, 1), (128, 6)])
def test_mask_count_is_exact(length, count):
    """min(max_predictions, max(1, round(length · rate))), and never more than there are words."""
    tokens = np.full((2, length), 50)
    tokens[:, 0], tokens[:, -2:] = CLS, SEP
    found = mask(tokens.ravel(), np.array([length, length]), _bits(2, RULES), RULES)
    assert found.counts.tolist() == [count, count]
    assert len(set(found.where.tolist())) == 2 * count


def test_mask_without_any_word_hides_nothing():
    found = mask(np.array([CLS, SEP, SEP]), np.array([3]), _bits(1, RULES), RULES)
    assert found.counts.tolist() == [0]
    assert len(found.where) == 0


def test_mask_never_touches_special_tokens_and_labels_are_the_originals():
    tokens, found = _masked()
    assert (tokens.ravel()[found.where] >= 5).all()
    np.testing.assert_array_equal(found.labels, tokens.ravel()[found.where])


def test_mask_kinds_are_80_10_10():
    _, found = _masked()
    n = len(found.where)
    masked = (found.shown == MASK).sum()
    same = (found.shown == found.labels).sum()
    observed = np.array([masked, n - masked - same, same])
    expected = n * np.array([0.8 + 0.1 / 1000, 0.1 * 998 / 1000, 0.1 + 0.1 / 1000])
    assert (
        (observed - expected) ** 2 / expected
    ).sum() < 13.8  # 0.999 quantile of chi-square, 2 degrees


def test_mask_random_tokens_come_from_the_whole_vocabulary():
    """ModernBERT's packer draws no id above the batch's largest; google-research/bert draws special
    ones too.
    """
    tokens = np.random.default_rng(0).integers(5, 100, (20_000, 24))
    found = mask(tokens.ravel(), np.full(20_000, 24), _bits(20_000, RULES), RULES)
    drawn = found.shown[(found.shown != MASK) & (found.shown != found.labels)]
    counts = np.histogram(drawn, bins=20, range=(0, 1000))[0]
    assert counts.min() > 0.8 * counts.max()
    assert (drawn < 5).any()


def test_mask_places_and_random_tokens_are_uniform():
    _, found = _masked(20_000)
    counts = np.delete(np.bincount(found.where % 24, minlength=24), [0, 9, 23])
    expected = counts.sum() / 21
    assert ((counts - expected) ** 2 / expected).sum() < 45.3  # 20 degrees
    drawn = found.shown[(found.shown != MASK) & (found.shown != found.labels)]
    counts = np.histogram(drawn, bins=20, range=(0, 1000))[0]
    expected = counts.sum() / 20
    assert (
        (counts - expected) ** 2 / expected
    ).sum() < 43.8  # 19 degrees; the whole vocabulary, as in the original


def test_mask_of_a_sequence_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(1)
    lengths, bits = np.array([10, 31, 18]), _bits(3, RULES)
    parts = [rng.integers(5, 1000, length) for length in lengths]
    whole = mask(np.concatenate(parts), lengths, bits, RULES)
    alone = [mask(part, lengths[i : i + 1], bits[i : i + 1], RULES) for i, part in enumerate(parts)]
    np.testing.assert_array_equal(np.concatenate([part.shown for part in alone]), whole.shown)
    starts = np.cumsum(lengths) - lengths
    np.testing.assert_array_equal(
        np.concatenate([part.where + start for part, start in zip(alone, starts, strict=True)]),
        whole.where,
    )


def test_mask_whole_words_hides_all_pieces_or_none_and_80_percent_mask():
    """DataCollatorForLanguageModeling of transformers turns whole-word masks into 100 % [MASK]."""
    rng = np.random.default_rng(2)
    sequences, length = 3000, 40
    continues = np.zeros(1000, bool)
    continues[500:] = True
    rules = MaskRules(0.15, 6, 1000, continues)
    tokens = np.where(
        rng.random((sequences, length)) < 0.4, rng.integers(500, 1000, (sequences, length)), 0
    )
    tokens = np.where(tokens == 0, rng.integers(5, 500, (sequences, length)), tokens)
    tokens[:, 0], tokens[:, 20], tokens[:, -1] = CLS, SEP, SEP
    found = mask(tokens.ravel(), np.full(sequences, length), _bits(sequences, rules), rules)
    hidden = np.zeros(tokens.size, bool)
    hidden[found.where] = True
    flat = tokens.ravel()
    # pieces that go on with a word
    after = np.flatnonzero(continues[flat] & (np.roll(flat, 1) >= 5))
    np.testing.assert_array_equal(hidden[after], hidden[after - 1])
    assert found.counts.max() == 6
    assert 5.3 < found.counts.mean() <= 6  # a word that no longer fits is skipped
    assert (found.shown == MASK).mean() == pytest.approx(
        0.8, abs=4 * 0.4 / np.sqrt(len(found.shown))
    )
