"""Our search against `transformers.generate`: the same weights, the same tokens and scores."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from benchmarks.seq2seq_peers import bert2bert, give_bert_weights, give_weights, marian
from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.options import Hypothesis, SearchOptions
from pipelines.decoding.rules import MinimumLength, NoRepeat
from pipelines.formats.vocabulary.special_tokens import END, PAD, START
from pipelines.models.protocol.model import Seq2SeqModel
from tests.decoding.toolkits import of_toolkit, stop_of_transformers
from tests.models.families import build

V, LONGEST = 24, 12
LENGTHS = torch.tensor([9, 3, 1, 6, 9])


def _source() -> torch.Tensor:
    source = torch.randint(5, V, (5, 9), generator=torch.Generator().manual_seed(2))
    return source.masked_fill(torch.arange(9) >= LENGTHS[:, None], PAD)


def _berts(seed: int) -> tuple[Seq2SeqModel, Any]:
    ours = build("rnd2rnd", V, seed, max_positions=128)
    theirs = (
        bert2bert(V, layers=2, width=16, feed_forward_width=24, heads=2, attention="eager")
        .eval()
        .double()
    )
    theirs.decoder.tie_weights()
    with torch.no_grad():
        ours.output_bias[END] += 2.0 + seed % 3
        ours.output_bias[[PAD, START]] = -1e4
    give_bert_weights(ours, theirs)
    return ours, theirs


def _pair(seed: int) -> tuple[Seq2SeqModel, Any]:
    ours = build("transformer_post", V, seed, tied="all", num_decoder_layers=2, max_positions=128)
    theirs = (
        marian(V, layers=2, width=16, feed_forward_width=24, heads=2, attention="eager")
        .eval()
        .double()
    )
    with torch.no_grad():
        ours.output_bias[END] += 1.0 + seed % 3
        ours.output_bias[[PAD, START]] = -1e4
    give_weights(ours, theirs)
    return ours, theirs


def _theirs(
    model: Any, beam: int, num_best: int, *, ends: tuple[int, ...] = (END,), **more: Any
) -> tuple[list[list[int]], list[float]]:
    settings = GenerationConfig(
        num_beams=beam, num_return_sequences=num_best, max_new_tokens=LONGEST, do_sample=False,
        eos_token_id=list(ends),
        pad_token_id=PAD, decoder_start_token_id=START, output_scores=True,
        return_dict_in_generate=True, **more,
    )  # fmt: skip
    mask = (torch.arange(9) < LENGTHS[:, None]).long()
    found = model.generate(_source(), attention_mask=mask, generation_config=settings)
    scores = found.sequences_scores.tolist() if beam > 1 else []
    return [_cut(row, ends) for row in found.sequences[:, 1:].tolist()], scores


def _cut(row: list[int], ends: tuple[int, ...]) -> list[int]:
    """Tokens up to the first end; what follows fills the row."""
    last = next((place for place, token in enumerate(row) if token in ends), len(row))
    return [token for token in row[: last + 1] if token != PAD]


def _told(found: list[list[Hypothesis]]) -> tuple[list[list[int]], list[float]]:
    """Tokens and scores as `_theirs` has them."""
    flat = [hypothesis for group in found for hypothesis in group]
    return [list(hypothesis.tokens) for hypothesis in flat], [
        hypothesis.score for hypothesis in flat
    ]


@pytest.mark.parametrize("stopping", [True, False, "never"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("beam", [1, 2, 3, 4, 5])
def test_tokens_and_scores_are_those_of_generate(beam, alpha, stopping):
    for seed in range(6):
        ours, theirs = _pair(seed)
        num_best = max(1, beam - 1)
        score, stop = of_toolkit("transformers", alpha), stop_of_transformers(stopping)
        options = SearchOptions(beam, num_best, LONGEST, START, (END,), score, stop)
        more = {"length_penalty": alpha, "early_stopping": stopping} if beam > 1 else {}
        found, scores = _told(beam_search(ours, _source(), LENGTHS, options))
        expected, their_scores = _theirs(theirs, beam, num_best, **more)
        assert found == expected
        # greedy search has none
        assert beam == 1 or scores == pytest.approx(their_scores, abs=1e-5)


@pytest.mark.parametrize("stopping", [True, False, "never"])
def test_bert2bert_translates_as_encoder_decoder_model_does(stopping):
    for seed in range(4):
        ours, theirs = _berts(seed)
        options = SearchOptions(
            4,
            3,
            LONGEST,
            START,
            (END,),
            of_toolkit("transformers", 0.6),
            stop_of_transformers(stopping),
        )
        more = {"length_penalty": 0.6, "early_stopping": stopping}
        found, scores = _told(beam_search(ours, _source(), LENGTHS, options))
        expected, their_scores = _theirs(theirs, 4, 3, **more)
        assert found == expected
        assert scores == pytest.approx(their_scores, abs=1e-5)


def test_several_ends_and_their_order_are_those_of_generate():
    for seed in range(6):
        ours, theirs = _pair(seed)
        ends = (END, 7, 11)
        options = SearchOptions(3, 3, LONGEST, START, ends, of_toolkit("transformers", 1.0))
        found, scores = _told(beam_search(ours, _source(), LENGTHS, options))
        expected, their_scores = _theirs(
            theirs, 3, 3, ends=ends, length_penalty=1.0, early_stopping="never"
        )
        assert found == expected
        assert scores == pytest.approx(their_scores, abs=1e-5)


def test_minimum_length_and_no_repeat_are_those_of_generate():
    for seed in range(6):
        ours, theirs = _pair(seed)
        options = SearchOptions(4, 3, LONGEST, START, (END,), of_toolkit("transformers", 1.0))
        rules = (MinimumLength(6, (END,)), NoRepeat(2))  # 6 with the end: 5 new tokens before it
        found, scores = _told(beam_search(ours, _source(), LENGTHS, options, rules=rules))
        more = {"length_penalty": 1.0, "early_stopping": "never"}
        expected, their_scores = _theirs(
            theirs, 4, 3, min_new_tokens=5, no_repeat_ngram_size=2, **more
        )
        assert found == expected
        assert scores == pytest.approx(their_scores, abs=1e-5)
