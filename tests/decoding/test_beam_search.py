"""The search against brute force, a textbook example, greedy choice, and itself in other
batches.
"""

import math
from dataclasses import replace

import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.forced_decoding import log_probabilities
from pipelines.decoding.length_penalty import LengthPenalty
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.formats.vocabulary.special_tokens import START
from tests.decoding.table_model import TableModel, all_translations, depth_first, random_table
from tests.models.families import BLOCKS, build

END = 3


def _options(
    beam: int, *, alpha: float = 1.0, max_length: int = 4, num_best: int = 1
) -> SearchOptions:
    return SearchOptions(beam, num_best, max_length, START, (END,), LengthPenalty("average", alpha))


def _source(*ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(ids)[:, None], torch.ones(len(ids), dtype=torch.long)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(25))
def test_beam_search_wide_enough_equals_exhaustive_search(seed, alpha):
    V, T = 4, 4
    table = random_table(V, seed)
    wide = _options(V**T, alpha=alpha, max_length=T, num_best=6)
    for source, found in zip(
        (0, 1), beam_search(TableModel(table), *_source(0, 1), wide), strict=True
    ):
        everything = all_translations(table, source, V, T, END)
        ranked = sorted(everything.items(), key=lambda item: -item[1] / len(item[0]) ** alpha)[:6]
        assert [hypothesis.tokens for hypothesis in found] == [tokens for tokens, _ in ranked]
        for hypothesis, (tokens, log_probability) in zip(found, ranked, strict=True):
            assert math.isclose(hypothesis.log_probability, log_probability, abs_tol=1e-9)
            assert math.isclose(
                hypothesis.score, log_probability / len(tokens) ** alpha, abs_tol=1e-9
            )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_no_beam_finds_better_than_exact_depth_first_search(alpha):
    V, T, missed = 5, 8, 0
    for seed in range(12):
        table = random_table(V, seed, scale=3.0)
        assert depth_first(table, 1, 4, END, alpha)[1] == pytest.approx(
            max(
                p / len(tokens) ** alpha
                for tokens, p in all_translations(table, 1, V, 4, END).items()
            )
        )
        tokens, score = depth_first(table, 0, T, END, alpha)
        for beam in (1, 2, 4, 8, 300):
            found = beam_search(
                TableModel(table), *_source(0), _options(beam, alpha=alpha, max_length=T)
            )[0][0]
            assert found.score <= score + 1e-9
            assert (found.tokens == tokens) == math.isclose(found.score, score, abs_tol=1e-9)
            missed += found.tokens != tokens
            assert beam < 300 or found.tokens == tokens
    assert 0 < missed < 12 * 4  # narrow beams do miss it, and find it


def test_beam_search_finds_what_greedy_misses():
    """Dive into Deep Learning, section 10.8: greedy takes A B C, .5·.4·.4·.6 = .048; A C B is
    .5·.3·.6·.6 = .054.
    """
    A, B, C, E = 0, 1, 2, 3
    probabilities = {
        (): [0.5, 0.2, 0.2, 0.1],
        (A,): [0.1, 0.4, 0.3, 0.2],
        (A, B): [0.2, 0.2, 0.4, 0.2],
        (A, B, C): [0.0, 0.2, 0.2, 0.6],
        (A, C): [0.1, 0.6, 0.2, 0.1],
        (A, C, B): [0.1, 0.2, 0.1, 0.6],
    }

    def table(source: int, prefix: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor(probabilities.get(prefix, [0.25] * 4), dtype=torch.double).log()

    greedy = beam_search(TableModel(table), *_source(0), _options(1, alpha=0.0))[0][0]
    beam = beam_search(TableModel(table), *_source(0), _options(2, alpha=0.0))[0][0]
    assert greedy.tokens == (A, B, C, E)
    assert math.isclose(math.exp(greedy.log_probability), 0.048)
    assert beam.tokens == (A, C, B, E)
    assert math.isclose(math.exp(beam.log_probability), 0.054)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(10))
def test_beam_search_stopping_early_changes_nothing(seed, alpha):
    model, sources = TableModel(random_table(6, seed)), _source(0, 1, 2)
    options = _options(3, alpha=alpha, max_length=9, num_best=3)
    stopped = beam_search(model, *sources, options)
    assert beam_search(model, *sources, replace(options, stop=Stop("never"))) == stopped


@pytest.mark.parametrize("name", BLOCKS)
def test_beam_one_takes_the_likeliest_token_each_time(name):
    model = build(name)
    source = torch.randint(5, 20, (4, 7), generator=torch.Generator().manual_seed(9))
    lengths = torch.tensor([7, 2, 5, 7])
    found = beam_search(model, source, lengths, _options(1, max_length=8))
    for row in range(4):
        tokens: list[int] = []
        while len(tokens) < 8 and END not in tokens:
            inputs = torch.tensor([[START, *tokens]])
            hidden = model.hidden(
                source[row : row + 1, : lengths[row]], lengths[row : row + 1], inputs
            )
            tokens.append(int(model.logits(hidden)[0, -1].argmax()))
        assert found[row][0].tokens == tuple(tokens)


@pytest.mark.parametrize("name", BLOCKS)
def test_beam_search_batch_order_and_padding_change_nothing(name):
    model = build(name)
    generator = torch.Generator().manual_seed(4)
    rows = [torch.randint(5, 20, (length,), generator=generator) for length in (3, 9, 5, 1, 7)]
    options = _options(4, max_length=10, num_best=3)

    def search(chosen: list[torch.Tensor], extra: int = 0) -> list:
        width = max(map(len, chosen)) + extra
        source = torch.zeros(len(chosen), width, dtype=torch.long)
        for number, row in enumerate(chosen):
            source[number, : len(row)] = row
        return beam_search(model, source, torch.tensor([len(row) for row in chosen]), options)

    together = search(rows)
    turned = search(rows[::-1], extra=4)[::-1]
    alone = [search([row])[0] for row in rows]
    for first, second, third in zip(together, turned, alone, strict=True):
        assert [h.tokens for h in first] == [h.tokens for h in second] == [h.tokens for h in third]


@pytest.mark.parametrize("name", BLOCKS)
def test_beam_search_scores_are_those_of_teacher_forcing(name):
    model = build(name)
    source = torch.randint(5, 20, (3, 6), generator=torch.Generator().manual_seed(8))
    lengths = torch.tensor([6, 2, 4])
    for rank in range(3):
        hypotheses = [
            group[rank]
            for group in beam_search(model, source, lengths, _options(4, max_length=9, num_best=3))
        ]
        again = log_probabilities(
            model, source, lengths, [hypothesis.tokens for hypothesis in hypotheses]
        )
        for hypothesis, value in zip(hypotheses, again, strict=True):
            assert math.isclose(hypothesis.log_probability, value, abs_tol=1e-9)


def test_beam_wider_than_the_vocabulary_returns_all_there_is():
    table = random_table(4, 0)
    found = beam_search(TableModel(table), *_source(0), _options(20, max_length=2, num_best=20))[0]
    assert len(found) == len(all_translations(table, 0, 4, 2, END)) == 13
    assert len({hypothesis.tokens for hypothesis in found}) == 13


def test_beam_search_max_length_one_takes_any_token():
    found = beam_search(
        TableModel(random_table(4, 1)), *_source(0), _options(4, max_length=1, num_best=4)
    )[0]
    assert sorted(hypothesis.tokens for hypothesis in found) == [(0,), (1,), (2,), (3,)]


def test_beam_search_impossible_tokens_never_appear():
    def table(source: int, prefix: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor([0.5, 0.0, 0.0, 0.5]).log()

    found = beam_search(TableModel(table), *_source(0), _options(4, max_length=3, num_best=4))[0]
    assert all(set(hypothesis.tokens) <= {0, END} for hypothesis in found)
    assert all(math.isfinite(hypothesis.score) for hypothesis in found)


def test_beam_search_nan_is_an_error():
    with pytest.raises(FloatingPointError, match="some are NaN"):
        beam_search(
            TableModel(lambda source, prefix: torch.full((4,), float("nan"))),
            *_source(0),
            _options(2),
        )


def test_n_best_holds_no_duplicates():
    for seed in range(10):
        found = beam_search(
            TableModel(random_table(5, seed)), *_source(0), _options(5, max_length=6, num_best=5)
        )[0]
        assert len({hypothesis.tokens for hypothesis in found}) == len(found)
        scores = [hypothesis.score for hypothesis in found]
        assert scores == sorted(scores, reverse=True)
