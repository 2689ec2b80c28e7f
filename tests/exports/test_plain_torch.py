"""The printed programs of recurrent models: the translations of our greedy search, without us."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.options import SearchOptions, Stop
from pipelines.exports.plain_torch import lines
from pipelines.exports.portable_tokenizer import save_portable
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import END, START
from pipelines.models.protocol.files import save
from pipelines.models.protocol.registry import schema_of
from pipelines.models.protocol.sources import sources
from tests.decoding.toolkits import of_toolkit
from tests.models.families import BLOCKS, PLAIN, build

LONGEST = 9
RECURRENT = [name for name, block in BLOCKS.items() if block["family"] == "recurrent"]


@pytest.mark.parametrize("name", RECURRENT)
def test_the_program_translates_as_our_greedy_search(name, reproduced, tmp_path: Path, monkeypatch):
    tokenizer = SubwordTokenizer.load(reproduced / "data/tokenizer")
    model = build(name, tokenizer.vocab_size, double=False)
    with torch.no_grad():
        model.output_bias.normal_(std=0.3)
    block = {
        **BLOCKS[name], "starts_from": "data/shards", "dropout": 0.0, "learning_rate": 0.01, **PLAIN
    }  # fmt: skip
    params = schema_of("recurrent")(**block)
    save(model, params, tokenizer.vocab_size, tmp_path)
    save_portable(reproduced / "data/tokenizer", tmp_path)
    text = (reproduced / "data/corpus/pairs.test.en.txt").read_text().splitlines()[0]
    program = lines(params, LONGEST, text)
    assert "pipelines" not in program
    assert len(program.splitlines()) <= (42 if "textbook" in name else 30)
    assert max(map(len, program.splitlines())) <= 100
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})  # what a user would run
    source, lengths = sources([np.array(tokenizer.encode([text])[0])])
    options = SearchOptions(
        1, 1, LONGEST, START, (END,), of_toolkit("transformers", 1.0), Stop("exact")
    )
    ((best,),) = beam_search(model, source, lengths, options)
    assert len(set(best.tokens)) > 1
    assert printed.getvalue().strip() == tokenizer.decode(best.tokens)
