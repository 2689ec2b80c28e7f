"""Several models searched as one, against their own probabilities averaged by hand."""

import math

import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.forced_decoding import log_probabilities
from pipelines.decoding.length_penalty import LengthPenalty
from pipelines.decoding.options import SearchOptions
from pipelines.ensemble.network import Ensemble
from pipelines.formats.vocabulary.special_tokens import END, START
from tests.decoding.table_model import all_translations
from tests.models.families import BLOCKS, build


def _options(beam: int, *, max_length: int, num_best: int) -> SearchOptions:
    return SearchOptions(beam, num_best, max_length, START, (END,), LengthPenalty("average", 1.0))


def _sources(vocab_size: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(5, vocab_size, (4, 7), generator=generator), torch.tensor([7, 2, 5, 3])


def test_ensemble_of_all_families_equals_exhaustive_search_over_the_mean():
    V, T = 6, 3
    members = [build(name, V, seed) for seed, name in enumerate(("gru", "transformer", "rnd2rnd"))]
    source_BS, lengths_B = _sources(V)
    found = beam_search(
        Ensemble(members), source_BS, lengths_B, _options(V**T, max_length=T, num_best=5)
    )

    def mean(row: int, prefix: tuple[int, ...]) -> torch.Tensor:
        source = source_BS[row : row + 1, : lengths_B[row]], lengths_B[row : row + 1]
        inputs = torch.tensor([[START, *prefix]])
        logits = [member.logits(member.hidden(*source, inputs))[0, -1] for member in members]
        return torch.stack([each.softmax(-1) for each in logits]).mean(0).log()

    for row, group in enumerate(found):
        everything = all_translations(mean, row, V, T, END)
        ranked = sorted(everything.items(), key=lambda item: -item[1] / len(item[0]))[:5]
        assert [hypothesis.tokens for hypothesis in group] == [tokens for tokens, _ in ranked]
        for hypothesis, (_, log_probability) in zip(group, ranked, strict=True):
            assert math.isclose(hypothesis.log_probability, log_probability, abs_tol=1e-9)


def test_ensemble_of_one_model_is_that_model():
    for name in BLOCKS:
        model, options = build(name), _options(4, max_length=9, num_best=3)
        alone, twice = (
            beam_search(each, *_sources(), options) for each in (model, Ensemble([model, model]))
        )
        for ours, theirs in zip(twice, alone, strict=True):
            assert [hypothesis.tokens for hypothesis in ours] == [
                hypothesis.tokens for hypothesis in theirs
            ]
            for one, other in zip(ours, theirs, strict=True):
                assert math.isclose(one.log_probability, other.log_probability, abs_tol=1e-9)


def test_ensemble_scores_are_those_of_teacher_forcing():
    ensemble = Ensemble([build("lstm"), build("transformer", seed=1)])
    found = [
        group[0]
        for group in beam_search(ensemble, *_sources(), _options(3, max_length=9, num_best=1))
    ]
    again = log_probabilities(ensemble, *_sources(), [hypothesis.tokens for hypothesis in found])
    for hypothesis, value in zip(found, again, strict=True):
        assert math.isclose(hypothesis.log_probability, value, abs_tol=1e-9)


def test_ensemble_of_two_vocabularies_is_refused():
    with pytest.raises(ValueError, match=r"vocabularies \(\[20, 21\]\) must be one"):
        Ensemble([build("gru", 20), build("gru", 21)])
