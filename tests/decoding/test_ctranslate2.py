"""The exported Transformer in CTranslate2: the same translations, found by another engine."""

from pathlib import Path

import ctranslate2
import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.export import to_ctranslate2
from pipelines.decoding.length_scores import of_toolkit
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.errors import DataError
from pipelines.tokenizer.special_tokens import CLS, END, PAD, SEP, SPECIAL_TOKENS, START
from tests.seq2seq.families import build

V, LONGEST = 40, 14
WORDS = [*SPECIAL_TOKENS, *(f"w{number}" for number in range(5, V))]


@pytest.mark.parametrize("name", ["transformer", "transformer_post", "transformer_learned"])
@pytest.mark.parametrize("alpha", [0.6, 1.0])
@pytest.mark.parametrize("beam", [1, 4])
def test_exported_transformer_gives_our_translations(tmp_path, name, beam, alpha):
    """CTranslate2 stops once as many hypotheses as the beam is wide have ended."""
    model = build(name, V, seed=3, double=False)
    with torch.no_grad():
        model.output_bias[END] += 2.0
        model.output_bias[[PAD, START]] = -1e4
    to_ctranslate2(model, WORDS, tmp_path / "model")
    generator = torch.Generator().manual_seed(5)
    sentences = [torch.randint(5, V, (length,), generator=generator).tolist() for length in (6, 2, 9, 1, 4, 12)]
    source = torch.zeros(len(sentences), 14, dtype=torch.long)
    for row, sentence in enumerate(sentences):
        source[row, : len(sentence) + 2] = torch.tensor([CLS, *sentence, SEP])
    lengths = torch.tensor([len(sentence) + 2 for sentence in sentences])
    options = SearchOptions(beam, beam, LONGEST, START, (END,), of_toolkit("ctranslate2", alpha), Stop("finished"))
    found = beam_search(model, source, lengths, options)
    theirs = ctranslate2.Translator(str(tmp_path / "model"), device="cpu", compute_type="float32").translate_batch(
        [[WORDS[token] for token in sentence] for sentence in sentences],
        beam_size=beam, num_hypotheses=beam, length_penalty=alpha, max_decoding_length=LONGEST, return_scores=True,
        min_decoding_length=0,
    )  # fmt: skip
    for group, its in zip(found, theirs, strict=True):
        ours = [[WORDS[token] for token in hypothesis.tokens if token != END] for hypothesis in group]
        assert ours == its.hypotheses
        if beam > 1:
            assert [hypothesis.score for hypothesis in group] == pytest.approx(its.scores, abs=1e-3)


def test_export_of_other_families_is_refused(tmp_path: Path):
    for name in ("gru_additive", "rnd2rnd"):
        with pytest.raises(DataError, match="must be transformer: CTranslate2 has no"):
            to_ctranslate2(build(name), WORDS[:20], tmp_path / "model")


def test_export_over_something_that_is_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="must not be there yet"):
        to_ctranslate2(build("transformer"), WORDS[:20], tmp_path)
