"""The exported Transformer in CTranslate2: the same translations, found by another engine."""

from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import CLS, END, PAD, SEP, SPECIAL_TOKENS, START
from pipelines.frame.errors import DataError
from pipelines.models.protocol.sources import sources
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import assembled, train_vocabulary
from pipelines.translate.export import to_ctranslate2
from tests.decoding.toolkits import of_toolkit
from tests.models.families import build

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
    sentences = [
        torch.randint(5, V, (length,), generator=generator).tolist()
        for length in (6, 2, 9, 1, 4, 12)
    ]
    source = torch.zeros(len(sentences), 14, dtype=torch.long)
    for row, sentence in enumerate(sentences):
        source[row, : len(sentence) + 2] = torch.tensor([CLS, *sentence, SEP])
    lengths = torch.tensor([len(sentence) + 2 for sentence in sentences])
    options = SearchOptions(
        beam, beam, LONGEST, START, (END,), of_toolkit("ctranslate2", alpha), Stop("finished")
    )
    found = beam_search(model, source, lengths, options)
    model = ctranslate2.Translator(str(tmp_path / "model"), device="cpu", compute_type="float32")
    theirs = model.translate_batch(
        [[WORDS[token] for token in sentence] for sentence in sentences],
        beam_size=beam, num_hypotheses=beam, length_penalty=alpha, max_decoding_length=LONGEST,
        return_scores=True,
        min_decoding_length=0,
    )  # fmt: skip
    for group, its in zip(found, theirs, strict=True):
        ours = [
            [WORDS[token] for token in hypothesis.tokens if token != END] for hypothesis in group
        ]
        assert ours == its.hypotheses
        if beam > 1:
            assert [hypothesis.score for hypothesis in group] == pytest.approx(its.scores, abs=1e-3)


def test_exported_model_reads_special_tokens_in_text_as_text(tmp_path: Path):
    """Pieces of text never equal a special token, so nothing ends or is masked in another engine
    either.
    """
    lines = ["he said [SEP] stop [MASK]", "[PAD] - [UNK]"]
    shipped = {
        "kind": "wordpiece",
        "vocabulary_from": "x",
        "min_frequency": 1,
        "lowercase": False,
        "strip_accents": False,
    }
    params = TokenizerParams(vocab_size="characters", **shipped)
    vocabulary = train_vocabulary(lines, params, lines)
    tokenizer = SubwordTokenizer(assembled(vocabulary, params))
    words = [tokenizer.token(index) for index in range(tokenizer.vocab_size)]
    model = build("transformer", len(words), seed=3, double=False)
    to_ctranslate2(model, words, tmp_path / "model")
    ids = tokenizer.encode(lines)
    pieces = [[tokenizer.token(index) for index in row] for row in ids]
    assert not any(set(row) & set(SPECIAL_TOKENS) for row in pieces)
    options = SearchOptions(
        1, 1, LONGEST, START, (END,), of_toolkit("ctranslate2", 1.0), Stop("finished")
    )
    source, lengths = sources([np.array(row) for row in ids])
    theirs = ctranslate2.Translator(
        str(tmp_path / "model"), device="cpu", compute_type="float32"
    ).translate_batch(pieces, beam_size=1, max_decoding_length=LONGEST, min_decoding_length=0)
    for group, its in zip(beam_search(model, source, lengths, options), theirs, strict=True):
        assert [words[token] for token in group[0].tokens if token != END] == its.hypotheses[0]


def test_export_of_other_families_is_refused(tmp_path: Path):
    for name in ("gru_additive", "rnd2rnd"):
        with pytest.raises(DataError, match="must be transformer: CTranslate2 has no"):
            to_ctranslate2(build(name), WORDS[:20], tmp_path / "model")


def test_export_over_something_that_is_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="must not be there yet"):
        to_ctranslate2(build("transformer"), WORDS[:20], tmp_path)
