"""Ragged arrays on disk."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.formats.corpus.files import DOCUMENT_SPLITS, PAIR_SPLITS, Corpus
from pipelines.formats.shards.arrays import (
    DocumentShard,
    PairShard,
    Ragged,
    read_index,
    write_ragged,
)
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.frame.errors import DataError
from pipelines.frame.files import write_json
from pipelines.shards.params import ShardsParams
from pipelines.shards.write import ShardWriter, warnings_of
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import assembled, train_vocabulary


def test_ragged_round_trip_with_empty_rows(tmp_path):
    rows = [[5, 6, 7], [], [65535], [8, 9]]
    write_ragged(tmp_path, "x", rows)
    ragged = Ragged.open(tmp_path, "x")
    assert [ragged[row].tolist() for row in range(len(ragged))] == rows
    assert ragged.lengths.tolist() == [3, 0, 1, 2]
    assert isinstance(ragged.tokens, np.memmap)


def test_ragged_token_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(OverflowError):
        write_ragged(tmp_path, "x", [[65536]])


def test_open_missing_or_cut_file_is_a_data_error(tmp_path):
    write_ragged(tmp_path, "x", [[1, 2, 3]] * 100)
    path = tmp_path / "x.tokens.npy"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="run dvc repro shards"):
        Ragged.open(tmp_path, "x")
    with pytest.raises(DataError, match="run dvc repro shards"):
        read_index(tmp_path)


def _shards(
    tmp_path, monkeypatch, lines, vocab_size="characters", *, more=(), limit=64, too_long="cut"
):
    """The stage's writer on a corpus of these lines, on both sides of every split."""
    monkeypatch.chdir(tmp_path)
    corpus = Corpus(
        ("x", "y"),
        {(split, side): [lines, lines] for split in DOCUMENT_SPLITS for side in ("x", "y")},
        {split: [(line, line) for line in lines] for split in PAIR_SPLITS},
    )
    Path("data/corpus").mkdir(parents=True)
    corpus.write(Path("data/corpus"))
    params = TokenizerParams(
        kind="wordpiece",
        vocabulary_from="data/corpus",
        vocab_size=vocab_size,
        min_frequency=1,
        lowercase=False,
        strip_accents=False,
    )
    vocabulary = train_vocabulary(lines, params, lines).with_tokens(more)
    writer = ShardWriter(
        SubwordTokenizer(assembled(vocabulary, params)),
        ShardsParams(max_sentence_tokens=limit, too_long=too_long),
    )
    out = tmp_path / "shards"
    out.mkdir()
    index = {
        "documents": {
            split: writer.write_documents(out, split, ("x", "y")) for split in DOCUMENT_SPLITS
        },
        "pairs": {split: writer.write_pairs(out, split, ("x", "y")) for split in PAIR_SPLITS},
    }
    write_json(out / "index.json", index)
    return writer.tokenizer, out, index


def test_vocabulary_above_65536_ids_is_written_in_32_bits(tmp_path, monkeypatch):
    """Multilingual BERT has 119,547."""
    words = [f"w{number}" for number in range(70_000)]
    lines = ["w1 w69999 w65536", "w2 w3"]
    tokenizer, out, _ = _shards(tmp_path, monkeypatch, lines, more=words)
    assert tokenizer.vocab_size > 70_000
    for split in PAIR_SPLITS:
        shard = PairShard.open(out, split)
        assert shard.source.tokens.dtype == np.uint32
        assert [tokenizer.decode(shard.source[row]) for row in range(2)] == lines
    documents = DocumentShard.open(out, "train")
    assert [tokenizer.decode(documents.sentences[row]) for row in range(2)] == lines
    assert documents.sentences.tokens.max() > 2**16


def test_targets_keep_their_spacing_and_sources_are_berts(tmp_path, monkeypatch):
    lines = ["a - b", "a-b"]
    tokenizer, out, _ = _shards(tmp_path, monkeypatch, lines)
    shard = PairShard.open(out, "test")
    assert [tokenizer.decode(shard.target[row]) for row in range(2)] == lines
    assert shard.source[0].tolist() == shard.source[1].tolist() == tokenizer.encode(["a-b"])[0]


def test_cut_targets_are_named_and_said(tmp_path, monkeypatch):
    lines = ["a b c d e", "a b c d", "a", "b c d e a b c"]
    _, out, index = _shards(tmp_path, monkeypatch, lines, limit=4)
    assert index["pairs"]["train"]["target"]["cut_rows"] == [0, 3]
    assert PairShard.open(out, "train").cut_targets.tolist() == [0, 3]
    told = (
        "50.0 % of the sentences of pairs.train.target were cut to shards.max_sentence_tokens (4)"
    )
    assert any(warning.startswith(told) for warning in warnings_of(index))
    (tmp_path / "other").mkdir()
    _, out, index = _shards(tmp_path / "other", monkeypatch, lines)
    assert "cut_rows" not in index["pairs"]["train"]["target"]
    assert list(warnings_of(index)) == []
    assert len(PairShard.open(out, "train").cut_targets) == 0


def test_unknown_tokens_are_counted_and_said(tmp_path, monkeypatch):
    _, _, index = _shards(tmp_path, monkeypatch, ["a b"])
    index["pairs"]["test"]["source"] |= {"tokens": 50, "unknown": 1}
    (told,) = warnings_of(index)
    assert told.startswith("2.0 % of the tokens of pairs.test.source are [UNK]; look at")
