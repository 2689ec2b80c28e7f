"""Ways to search beside plain beam search, each against something that is not it."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.forced_decoding import log_probabilities
from pipelines.decoding.length_penalty import LengthPenalty
from pipelines.decoding.options import Hypothesis, SearchOptions, Stop
from pipelines.decoding.rules import MinimumLength, NoRepeat, Prefix
from pipelines.decoding.selection import Diverse, Sampled
from pipelines.formats.vocabulary.special_tokens import START
from pipelines.translate.constrained import Constrained
from tests.decoding.table_model import TableModel, all_translations, random_table
from tests.models.families import build

END = 3
PLAIN = LengthPenalty("average", 0.0)


def _options(beam: int, *, max_length: int = 4, num_best: int = 1, **more: object) -> SearchOptions:
    return replace(SearchOptions(beam, num_best, max_length, START, (END,), PLAIN), **more)


def _source(*ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(ids)[:, None], torch.ones(len(ids), dtype=torch.long)


def _holds(tokens: tuple[int, ...], phrase: tuple[int, ...]) -> bool:
    return any(tokens[at : at + len(phrase)] == phrase for at in range(len(tokens)))


def _best(table, wanted, count: int, max_length: int) -> list[tuple[int, ...]]:
    everything = all_translations(table, 0, 4, max_length, END)
    return [
        tokens
        for tokens, _ in sorted(everything.items(), key=lambda item: -item[1])
        if wanted(tokens)
    ][:count]


@pytest.mark.parametrize(
    "phrases", [((1,),), ((0, 2),), ((1,), (2, 2)), ((2,), (2,), (0,)), ((1, 1, 0),)]
)
@pytest.mark.parametrize("seed", range(8))
def test_constrained_search_wide_enough_finds_the_best_that_hold_all_phrases(seed, phrases):
    T, W = 5, 4**5 * 5
    table = random_table(4, seed)
    selector = Constrained([phrases], W, T, (END,))
    found = beam_search(
        TableModel(table), *_source(0), _options(W, max_length=T, num_best=5), selector=selector
    )[0]
    expected = _best(table, lambda tokens: all(_holds(tokens, phrase) for phrase in phrases), 5, T)
    assert [hypothesis.tokens for hypothesis in found] == expected


@pytest.mark.parametrize("seed", range(8))
def test_constrained_search_of_a_narrow_beam_holds_the_phrases(seed):
    table, phrases = random_table(12, seed), (((4, 9), (7,)), ((5,),), ())
    selector = Constrained(phrases, 6, 9, (END,))
    options = _options(6, max_length=9, num_best=2)
    found = beam_search(TableModel(table), *_source(0, 1, 2), options, selector=selector)
    for group, wanted in zip(found, phrases, strict=True):
        assert len(group) == 2
        assert all(_holds(hypothesis.tokens, phrase) for hypothesis in group for phrase in wanted)


def test_constrained_search_without_room_for_the_phrase_finds_nothing():
    selector = Constrained([((0, 1, 2),)], 4, 2, (END,))
    assert beam_search(
        TableModel(random_table(4, 0)), *_source(0), _options(4, max_length=2), selector=selector
    ) == [[]]


@pytest.mark.parametrize("seed", range(10))
def test_prefix_is_kept_and_counts(seed):
    table, prefix = random_table(4, seed), (2, 0)
    found = beam_search(
        TableModel(table), *_source(0), _options(64, num_best=3), rules=[Prefix([prefix])]
    )[0]
    assert [h.tokens for h in found] == _best(table, lambda tokens: tokens[:2] == prefix, 3, 4)
    for hypothesis in found:
        expected = sum(
            table(0, hypothesis.tokens[:t])[token].item()
            for t, token in enumerate(hypothesis.tokens)
        )
        assert math.isclose(hypothesis.log_probability, expected, abs_tol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_rules_leave_the_best_of_what_they_allow(seed):
    table = random_table(4, seed)
    rules = [MinimumLength(3, (END,)), NoRepeat(2)]
    found = beam_search(
        TableModel(table), *_source(0), _options(300, max_length=5, num_best=5), rules=rules
    )[0]

    def allowed(tokens: tuple[int, ...]) -> bool:
        grams = Counter(itertools.pairwise(tokens))
        return len(tokens) >= 3 and max(grams.values()) == 1

    assert [h.tokens for h in found] == _best(table, allowed, 5, 5)


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_diverse_search_is_the_algorithm_of_the_paper(seed, groups):
    """Vijayakumar et al. 2018, algorithm 1, one group and one hypothesis at a time."""
    table, W, T, penalty = random_table(6, seed), 2, 5, 0.7

    def score(prefix: tuple[int, ...]) -> float:
        return sum(table(0, prefix[:t])[token].item() for t, token in enumerate(prefix))

    beams, pools = [[()] for _ in range(groups)], [[] for _ in range(groups)]
    for length in range(1, T + 1):
        taken: Counter[int] = Counter()
        for group in range(groups):
            ranked = sorted(
                ((*prefix, token) for prefix in beams[group] for token in range(6)),
                key=lambda tokens: -(score(tokens) - penalty * taken[tokens[-1]]),
            )
            pools[group] += [t for t in ranked[:W] if t[-1] == END or length == T]
            beams[group] = [t for t in ranked if t[-1] != END][:W]
            taken.update(t[-1] for t in beams[group])
    expected = sorted(
        {t for pool in pools for t in sorted(pool, key=lambda t: -score(t))[:W]},
        key=lambda t: -score(t),
    )

    options = _options(
        W * groups, max_length=T, num_best=W * groups, groups=groups, stop=Stop("never")
    )
    selector = Diverse(W, groups, penalty, (END,))
    found = beam_search(TableModel(table), *_source(0), options, selector=selector)[0]
    assert list(dict.fromkeys(h.tokens for h in found)) == expected


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_diverse_search_that_stops_early_finds_what_one_that_does_not_finds(seed, alpha):
    """The likeliest alive need not be the one its group prefers."""
    model, sources = TableModel(random_table(6, seed)), _source(0, 1)
    options = _options(6, max_length=9, num_best=2, groups=3, score=LengthPenalty("average", alpha))
    first, last = (
        beam_search(
            model, *sources, replace(options, stop=Stop(rule)), selector=Diverse(2, 3, 2.0, (END,))
        )
        for rule in ("exact", "never")
    )
    assert first == last


def test_greedy_search_ends_at_its_first_end_whatever_the_stop_rule():
    for seed in range(10):
        model = TableModel(random_table(5, seed))
        rules = (Stop("exact"), Stop("never"), Stop("finished", 3.0), Stop("likely", 2.0))
        found = [
            beam_search(model, *_source(0), _options(1, max_length=9, stop=stop)) for stop in rules
        ]
        assert found[0] == found[1] == found[2] == found[3]
        assert (
            found[0][0][0].tokens.index(END) + 1 == len(found[0][0][0].tokens)
            or END not in found[0][0][0].tokens
        )


def test_diverse_search_without_penalty_is_beam_search_in_each_group():
    model = build("transformer")
    source = torch.randint(5, 20, (3, 6), generator=torch.Generator().manual_seed(8))
    lengths, plain = torch.tensor([6, 2, 4]), _options(3, max_length=9, num_best=3)
    alone = beam_search(model, source, lengths, plain)
    selector = Diverse(3, 2, 0.0, (END,))
    both = beam_search(
        model, source, lengths, replace(plain, beam_size=6, num_best=6, groups=2), selector=selector
    )
    for one, two in zip(alone, both, strict=True):
        assert [h.tokens for h in two] == [h.tokens for h in one for _ in range(2)]


def _sample(
    table, count: int, *, temperature=1.0, top_k=0, top_p=1.0, length=1, seed=0
) -> list[Hypothesis]:
    uniform = torch.rand(
        1, count, length, generator=torch.Generator().manual_seed(seed), dtype=torch.double
    )
    selector = Sampled(uniform, temperature=temperature, top_k=top_k, top_p=top_p)
    options = _options(count, max_length=length, num_best=count, stop=Stop("never"))
    return beam_search(TableModel(table), *_source(0), options, selector=selector)[0]


def _shares(found: list[Hypothesis], vocab_size: int) -> torch.Tensor:
    return torch.bincount(torch.tensor([h.tokens[0] for h in found]), minlength=vocab_size) / len(
        found
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_have_the_frequencies_of_the_softmax(temperature):
    table = random_table(6, 1, scale=1.0)
    expected = (table(0, ()) / temperature).softmax(-1)
    shares = _shares(_sample(table, 20_000, temperature=temperature), 6)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt()).all()


def test_samples_of_the_likeliest_tokens_alone():
    table = random_table(6, 1, scale=1.0)
    probability = table(0, ()).exp()
    order = probability.argsort(descending=True).tolist()
    assert set(h.tokens[0] for h in _sample(table, 5000, top_k=2)) == set(order[:2])
    nucleus = [token for place, token in enumerate(order) if probability[order[:place]].sum() < 0.6]
    shares = _shares(_sample(table, 20_000, top_p=0.6), 6)
    assert set(shares.nonzero().flatten().tolist()) == set(nucleus)
    expected = probability / probability[nucleus].sum()
    assert all(abs(shares[token] - expected[token]) < 0.02 for token in nucleus)


def test_sample_of_one_token_is_greedy_and_its_score_the_models():
    model = build("gru_additive")
    source = torch.randint(5, 20, (3, 6), generator=torch.Generator().manual_seed(8))
    lengths = torch.tensor([6, 2, 4])
    greedy = beam_search(model, source, lengths, _options(1, max_length=9))
    one = Sampled(torch.rand(3, 1, 9), temperature=1.0, top_k=1, top_p=1.0)
    assert (
        beam_search(
            model, source, lengths, _options(1, max_length=9, stop=Stop("never")), selector=one
        )
        == greedy
    )
    free = Sampled(torch.rand(3, 4, 9), temperature=3.0, top_k=0, top_p=1.0)
    options = _options(4, max_length=9, num_best=4, stop=Stop("never"))
    found = beam_search(model, source, lengths, options, selector=free)
    for rank in range(4):
        again = log_probabilities(model, source, lengths, [group[rank].tokens for group in found])
        assert [group[rank].log_probability for group in found] == pytest.approx(again, abs=1e-9)


@pytest.mark.parametrize(
    ("score", "formula"),
    [
        (LengthPenalty("gnmt", 0.8), lambda total, tokens: total / ((5 + len(tokens)) / 6) ** 0.8),
        (LengthPenalty("reward", 0.4), lambda total, tokens: total + 0.4 * len(tokens)),
        (LengthPenalty("reward", -0.4), lambda total, tokens: total - 0.4 * len(tokens)),
        (
            LengthPenalty("average", 1.0, end_counts=False),
            lambda total, tokens: total / max(1, len(tokens) - (tokens[-1] == END)),
        ),
    ],
)
@pytest.mark.parametrize("seed", range(15))
def test_every_score_wide_enough_equals_exhaustive_search(seed, score, formula):
    table = random_table(4, seed)
    found = beam_search(TableModel(table), *_source(0), _options(256, num_best=6, score=score))[0]
    everything = all_translations(table, 0, 4, 4, END)
    ranked = sorted(everything, key=lambda tokens: -formula(everything[tokens], tokens))[:6]
    assert [hypothesis.tokens for hypothesis in found] == ranked
    for hypothesis in found:
        assert math.isclose(
            hypothesis.score, formula(hypothesis.log_probability, hypothesis.tokens), abs_tol=1e-9
        )


@pytest.mark.parametrize("name", ["gru_additive", "lstm_general", "transformer", "rnd2rnd"])
def test_coverage_and_attention_are_those_of_teacher_forcing(name):
    """A hypothesis' attention is what a pass over it alone gives; coverage follows (Wu et al. 2016,
    equation 15).
    """
    model = build(name)
    source = torch.randint(5, 20, (3, 6), generator=torch.Generator().manual_seed(8))
    lengths, score = torch.tensor([6, 2, 4]), LengthPenalty("average", 0.0, coverage=0.3)
    options = _options(4, max_length=30, num_best=3, score=score, attention=True)
    for row, group in enumerate(beam_search(model, source, lengths, options)):
        for hypothesis in group:
            state = model.start(source[row : row + 1, : lengths[row]], lengths[row : row + 1])
            seen = []
            for token in (START, *hypothesis.tokens[:-1]):
                _, state = model.step_hidden(torch.tensor([token]), state)
                seen.append(state["attention"][0])
            attention = torch.stack(seen)
            torch.testing.assert_close(
                hypothesis.attention[:, : lengths[row]], attention, atol=1e-9, rtol=0
            )
            assert (hypothesis.attention[:, lengths[row] :] == 0).all()
            covered = attention.sum(0).clamp(max=1.0).log().sum().item()
            assert hypothesis.score == pytest.approx(
                hypothesis.log_probability + 0.3 * covered, abs=1e-9
            )


def test_coverage_of_a_model_without_attention_is_refused():
    options = _options(2, score=LengthPenalty("average", 0.0, coverage=0.3))
    with pytest.raises(ValueError, match="must be asked of a model that has attention"):
        beam_search(build("gru"), torch.randint(5, 20, (1, 4)), torch.tensor([4]), options)


@pytest.mark.parametrize("patience", [0.5, 1.0, 2.0])
def test_patience_waits_for_so_many_finished(patience):
    """Kasai et al. 2022: as "first k" with patience · beam size in place of the beam size."""
    for seed in range(10):
        table, W, T = random_table(6, seed), 4, 8
        beam, finished = [()], []

        def score(prefix: tuple[int, ...], table=table) -> float:
            return sum(table(0, prefix[:t])[token].item() for t, token in enumerate(prefix))

        for length in range(1, T + 1):
            ranked = sorted(
                ((*prefix, token) for prefix in beam for token in range(6)), key=lambda t: -score(t)
            )
            finished += [t for t in ranked[:W] if t[-1] == END or length == T]
            beam = [t for t in ranked if t[-1] != END][:W]
            if len(finished) >= patience * W:
                break
        options = _options(W, max_length=T, num_best=W, stop=Stop("finished", patience))
        found = beam_search(TableModel(table), *_source(0), options)[0]
        assert [h.tokens for h in found] == sorted(finished, key=lambda t: -score(t))[:W]
