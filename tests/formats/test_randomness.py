"""Streams are functions of names and positions."""

import numpy as np

from pipelines.formats.randomness import bits_block, generator


def test_bits_block_row_is_the_same_whatever_is_drawn_with_it():
    whole = bits_block(1, "masks", epoch=2, first=0, count=10, width=7)
    part = bits_block(1, "masks", epoch=2, first=4, count=3, width=7)
    np.testing.assert_array_equal(whole[4:7], part)


def test_bits_block_streams_of_other_seed_epoch_or_purpose_differ():
    blocks = [
        bits_block(seed, purpose, epoch=epoch, first=0, count=2, width=4)
        for seed, purpose, epoch in ((1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1))
    ]
    assert len({block.tobytes() for block in blocks}) == 4


def test_streams_of_neighbouring_seeds_are_not_shifted_copies():
    """Megatron's bert_dataset takes seed + index, so sample i + 1 of one seed is drawn like sample
    i of the next.
    """
    one, next_one = (
        bits_block(seed, "masks", epoch=0, first=0, count=50, width=8) for seed in (1, 2)
    )
    rows = [{row.tobytes() for row in block} for block in (one, next_one)]
    assert not rows[0] & rows[1]
    draws = [
        {generator(seed, "x", position).integers(2**63) for position in range(50)}
        for seed in (1, 2)
    ]
    assert not draws[0] & draws[1]


def test_bits_block_is_uniform():
    block = bits_block(3, "masks", epoch=0, first=0, count=1000, width=100)
    counts = np.histogram(block, bins=20, range=(0, 2**32))[0]
    chi_square = ((counts - 5000) ** 2 / 5000).sum()
    assert chi_square < 43.8  # 0.999 quantile of chi-square with 19 degrees of freedom
    assert abs(np.corrcoef(block[:-1, 0].astype(float), block[1:, 0].astype(float))[0, 1]) < 0.1


def test_generator_is_reproducible_and_positions_differ():
    assert generator(1, "x", 5).random() == generator(1, "x", 5).random()
    assert generator(1, "x", 5).random() != generator(1, "x", 6).random()


def test_bits_block_does_not_repeat_beyond_a_million_rows():
    """fairseq's mask_tokens_dataset takes its seeds modulo a million, so sample 1,000,000 + n is
    masked like n.
    """
    near, far = (
        bits_block(1, "masks", epoch=0, first=first, count=100, width=8) for first in (0, 1_000_000)
    )
    assert not (near == far).all(axis=1).any()
