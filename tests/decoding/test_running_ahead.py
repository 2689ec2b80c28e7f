"""A search that never waits for its device finds what one finds that looks at every number."""

import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.length_penalty import LengthPenalty
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.decoding.rules import MinimumLength, NoRepeat, Prefix
from pipelines.decoding.selection import Diverse, Sampled
from pipelines.ensemble.network import Ensemble
from pipelines.formats.vocabulary.special_tokens import START
from pipelines.nn.cuda import waiting
from pipelines.seq2seq.greedy import greedy
from tests.models.families import BLOCKS, build

END, V = 3, 20


def _sources():
    generator = torch.Generator().manual_seed(7)
    return torch.randint(5, V, (9, 7), generator=generator), torch.tensor(
        [7, 2, 5, 3, 7, 1, 4, 6, 2]
    )


def _options(**more):
    penalty = LengthPenalty("average", 0.6, coverage=more.pop("coverage", 0.0))
    return SearchOptions(4, 3, more.pop("max_length", 24), START, (END,), penalty, **more)


def _found(monkeypatch, model, options, **more):
    """Tokens and scores of all hypotheses, waiting for the device and running ahead of it."""
    both = []
    for ahead in (False, True):
        monkeypatch.setattr(waiting, "runs_ahead", lambda _, ahead=ahead: ahead)
        made = {name: make() for name, make in more.items()}
        groups = beam_search(model, *_sources(), options, **made)
        both.append([[(one.tokens, round(one.score, 9)) for one in group] for group in groups])
    assert len(both[0]) == 9
    assert all(both[0])
    return both


@pytest.mark.parametrize("name", BLOCKS)
def test_every_family(monkeypatch, name):
    waited, ahead = _found(monkeypatch, build(name), _options())
    assert ahead == waited


CASES = {
    "never stops": ({"stop": Stop("never")}, {}),
    "first come": ({"stop": Stop("finished")}, {}),
    "likely": ({"stop": Stop("likely")}, {}),
    "attention": ({"attention": True}, {}),
    "coverage": ({"coverage": 0.3}, {}),
    "groups": ({"groups": 2}, {"selector": lambda: Diverse(2, 2, 0.5, [END])}),
    "samples": (
        {"stop": Stop("never")},
        {
            "selector": lambda: Sampled(
                torch.rand(9, 4, 24, generator=torch.Generator().manual_seed(1)),
                temperature=1.0,
                top_k=5,
                top_p=0.9,
            )
        },
    ),
    "rules": (
        {},
        {
            "rules": lambda: [
                MinimumLength(5, [END]),
                NoRepeat(2),
                Prefix([[8, 9], [], [7], [], [6], [], [], [5, 6, 7], []]),
            ]
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_way_to_search(monkeypatch, case):
    options, more = CASES[case]
    waited, ahead = _found(monkeypatch, build("transformer"), _options(**options), **more)
    assert ahead == waited


def test_greedily_in_a_validation(monkeypatch):
    found = []
    for ahead in (False, True):
        monkeypatch.setattr(waiting, "runs_ahead", lambda _, ahead=ahead: ahead)
        found.append(greedy(build("transformer"), *_sources(), 10))
    assert found[0] == found[1]


def test_several_models(monkeypatch):
    members = Ensemble([build("transformer"), build("lstm_general")])
    waited, ahead = _found(monkeypatch, members, _options())
    assert ahead == waited


def test_numbers_that_are_none_are_an_error(monkeypatch):
    model = build("transformer")
    with torch.no_grad():
        model.output_bias.fill_(float("nan"))
    monkeypatch.setattr(waiting, "runs_ahead", lambda _: True)
    with pytest.raises(FloatingPointError, match="must be numbers"):
        beam_search(model, *_sources(), _options())


def test_the_device_is_asked_every_few_steps_alone(monkeypatch):
    """In between no number is read: every way that Python has to read one is counted."""
    read = []
    for name in ("__bool__", "__int__", "__float__", "item", "tolist", "nonzero"):
        real = getattr(torch.Tensor, name)

        def counted(tensor, *given, real=real):
            read.append(tensor)
            return real(tensor, *given)

        monkeypatch.setattr(torch.Tensor, name, counted)
    counts = {}
    for steps in (8, 24):
        for ahead in (False, True):
            monkeypatch.setattr(waiting, "runs_ahead", lambda _, ahead=ahead: ahead)
            read.clear()
            options = _options(stop=Stop("never"), max_length=steps)
            beam_search(build("transformer"), *_sources(), options)
            counts[steps, ahead] = len(read) - steps  # the position is a number of the CPU
    assert counts[24, False] - counts[8, False] > 2 * 16
    assert counts[24, True] - counts[8, True] <= 16 / 4
