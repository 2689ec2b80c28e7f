"""The exported Transformer in CTranslate2: the same translations, found by another engine."""

import contextlib
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.exports import ctranslate2 as module
from pipelines.exports.ctranslate2 import (
    QUANTIZATIONS,
    agreement,
    main,
    require_agreement,
    to_ctranslate2,
)
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import CLS, END, PAD, SEP, SPECIAL_TOKENS, START
from pipelines.frame.errors import CheckFailed, DataError
from pipelines.models.protocol.sources import sources
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import assembled, train_vocabulary
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
        [[WORDS[token] for token in (CLS, *sentence, SEP)] for sentence in sentences],
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
    framed = [[SPECIAL_TOKENS[CLS], *row, SPECIAL_TOKENS[SEP]] for row in pieces]
    options = SearchOptions(
        1, 1, LONGEST, START, (END,), of_toolkit("ctranslate2", 1.0), Stop("finished")
    )
    source, lengths = sources([np.array(row) for row in ids])
    theirs = ctranslate2.Translator(
        str(tmp_path / "model"), device="cpu", compute_type="float32"
    ).translate_batch(framed, beam_size=1, max_decoding_length=LONGEST, min_decoding_length=0)
    for group, its in zip(beam_search(model, source, lengths, options), theirs, strict=True):
        assert [words[token] for token in group[0].tokens if token != END] == its.hypotheses[0]


def test_export_of_other_families_is_refused(tmp_path: Path):
    for name in ("gru_additive", "rnd2rnd"):
        with pytest.raises(DataError, match="must be transformer: CTranslate2 has no"):
            to_ctranslate2(build(name), WORDS[:20], tmp_path / "model")


def test_export_over_something_that_is_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="must not be there yet"):
        to_ctranslate2(build("transformer"), WORDS[:20], tmp_path)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_our_model_is_as_it_was_and_the_export_says_the_same(tmp_path, quantization):
    """CTranslate2 quantizes arrays where they lie; once they were our weights."""
    model = build("transformer", V, seed=3, double=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_ctranslate2(model, WORDS, tmp_path / "model", quantization)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    pairs = [([5, 6, 7], [8, 9]), ([10], [11, 12, 13]), ([], [5])]
    found = agreement(model, WORDS, tmp_path / "model", pairs)
    assert found.sentences == 2
    require_agreement(found, tmp_path, quantization)
    with torch.no_grad():
        model.output_bias[8] += 3
    changed = agreement(model, WORDS, tmp_path / "model", pairs)
    with pytest.raises(CheckFailed, match="log-probabilities differ from ours by"):
        require_agreement(changed, tmp_path, quantization)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_the_readme_s_program_gives_our_translation(reproduced_copy, monkeypatch, quantization):
    folder = reproduced_copy / "served"
    given = ["--arch", "transformer", "--out", str(folder), "--quantization", quantization]
    assert main(given) == 0
    (program,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(program.splitlines()) == 8
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})  # what a user would run
    monkeypatch.chdir(reproduced_copy)
    line = (reproduced_copy / "data/corpus/pairs.test.en.txt").read_text().splitlines()[0]
    command = ["-m", "pipelines.translate", "--arch", "transformer"]
    done = subprocess.run(
        [sys.executable, *command], input=line + "\n", capture_output=True, text=True, check=True
    )
    if quantization == "float32":
        assert printed.getvalue() == done.stdout
    with pytest.raises(DataError, match="must not be there yet"):
        main(given)


@pytest.mark.parametrize("numbers", [[], [0.1, math.nan, 0.1]])
def test_what_is_no_number_agrees_with_nothing(tmp_path, monkeypatch, numbers):
    model = build("transformer", V, seed=3, double=False)
    to_ctranslate2(model, WORDS, tmp_path / "model")
    monkeypatch.setattr(module, "log_probabilities", lambda *_: numbers)
    found = agreement(model, WORDS, tmp_path / "model", [([5], [6])] * len(numbers))
    with pytest.raises(CheckFailed, match="differ from ours by inf"):
        require_agreement(found, tmp_path, "float32")


def test_an_export_that_is_refused_leaves_nothing(reproduced_copy, monkeypatch):
    monkeypatch.setitem(module.TOLERANCE, "float32", -1.0)
    with pytest.raises(CheckFailed, match=r"served: log-probabilities differ from ours"):
        main(["--arch", "transformer", "--out", "served"])
    assert not list(Path().glob("*served*"))
    monkeypatch.setitem(module.TOLERANCE, "float32", 1e-3)
    assert main(["--arch", "transformer", "--out", "served"]) == 0


def test_a_source_that_is_too_long_is_cut_there_too(reproduced_copy):
    """As our own program cuts it; CTranslate2 itself would end with an error."""
    assert main(["--arch", "transformer", "--out", "served"]) == 0
    tokenizer = Tokenizer.from_file("served/tokenizer.json")
    longest = json.loads(Path("data/seq2seq/transformer/model.json").read_text())["architecture"][
        "max_positions"
    ]
    pieces = tokenizer.encode("The cow is small. " * longest).tokens
    assert (len(pieces), pieces[-1]) == (longest, "[SEP]")
    found = ctranslate2.Translator("served").translate_batch([pieces], max_decoding_length=3)
    assert len(found) == 1
    assert f"Sources are cut at {longest} tokens" in Path("served/README.md").read_text()
