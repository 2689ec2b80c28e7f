"""Subwords: the same bytes every time, text back as it was, `transformers` agreeing."""

import hashlib
import json
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError
from tokenizers.pre_tokenizers import BertPreTokenizer

from pipelines.corpus.embedded import write_document
from pipelines.corpus.lexicon import read_lexicon
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.formats.vocabulary.special_tokens import SPECIAL_TOKENS
from pipelines.frame.errors import DataError
from pipelines.frame.params_reader import read_params
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import Vocabulary, assembled, save, take_over, train_vocabulary
from tests.conftest import ROOT, run_in

PARAMS = TokenizerParams(
    kind="wordpiece",
    vocabulary_from="data/corpus",
    vocab_size=400,
    min_frequency=2,
    lowercase=False,
    strip_accents=False,
)


def _lines(count: int = 60) -> list[str]:
    lexicon = read_lexicon(ROOT / "data/raw/embedded")
    pairs = [
        pair for index in range(count) for pair in write_document(lexicon, 1, "tokenizer", index)
    ]
    return [text for pair in pairs for text in (pair.english, pair.german)]


@pytest.fixture(scope="module", params=["wordpiece", "bpe"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    save_kind(request.param, path)
    return path


def save_kind(kind: str, folder: Path) -> None:
    """A tokenizer of a kind."""
    params = PARAMS.model_copy(update={"kind": kind})
    save(train_vocabulary(_lines(), params), params, folder)


@pytest.mark.parametrize(("hash_seed", "threads"), [("0", "1"), ("1", "2"), ("random", "7")])
def test_a_vocabulary_is_byte_identical_whatever_the_hash_seed_and_threads(
    folder, tmp_path, hash_seed, threads
):
    kind = "bpe" if folder.name.startswith("bpe") else "wordpiece"
    script = (
        "from pathlib import Path; from tests.tokenizer.test_tokenizer import save_kind;"
        f"save_kind({kind!r}, Path({str(tmp_path)!r}))"
    )
    run_in(ROOT, sys.executable, "-c", script, PYTHONHASHSEED=hash_seed, RAYON_NUM_THREADS=threads)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_both_kinds_have_one_vocabulary_and_spell_differently():
    """The example of `pipelines.tokenizer.vocabulary`."""
    merges = (("h", "##e"), ("##r", "##o"), ("he", "##r"))
    pieces = ["h", "##e", "##r", "##o", "he", "##ro", "her"]
    vocabulary = replace(Vocabulary({}).with_tokens([*SPECIAL_TOKENS, *pieces]), merges=merges)
    spelt = {}
    for kind in ("wordpiece", "bpe"):
        params = PARAMS.model_copy(update={"kind": kind})
        tokenizer = SubwordTokenizer(assembled(vocabulary, params))
        spelt[kind] = [tokenizer.token(index) for index in tokenizer.encode(["hero"])[0]]
        assert tokenizer.decode(tokenizer.encode(["hero"])[0]) == "hero"
    assert spelt == {"wordpiece": ["her", "##o"], "bpe": ["he", "##ro"]}
    assert (
        train_vocabulary(_lines(), PARAMS.model_copy(update={"kind": "bpe"})).ids
        == train_vocabulary(_lines(), PARAMS).ids
    )


def test_merges_are_repeated_as_sennrichs_algorithm_does():
    """Against the definition (Sennrich et al. 2016, algorithm 1): the first learnt pair, everywhere
    in the word, until no pair is left.
    """
    params = PARAMS.model_copy(update={"kind": "bpe"})
    vocabulary = train_vocabulary(_lines(), params)
    tokenizer = SubwordTokenizer(assembled(vocabulary, params))
    rank = {pair: number for number, pair in enumerate(vocabulary.merges)}
    words = sorted({word for line in _lines() for word in line.split(" ") if word.isalpha()})
    for word, ids in zip(words, tokenizer.encode(words), strict=True):
        pieces = [word[0], *(f"##{char}" for char in word[1:])]
        while pairs := [pair for pair in pairwise(pieces) if pair in rank]:
            first, at = min(pairs, key=rank.__getitem__), 0
            while at + 1 < len(pieces):
                if (pieces[at], pieces[at + 1]) == first:
                    pieces[at : at + 2] = [first[0] + first[1].removeprefix("##")]
                at += 1
        assert [tokenizer.token(index) for index in ids] == pieces


def test_a_vocabulary_taken_over_has_no_merges():
    with pytest.raises(ValidationError, match=r"kind \('bpe'\) must be wordpiece where"):
        TokenizerParams(**{**PARAMS.model_dump(), "kind": "bpe", "vocabulary_from": "data/raw/b"})


def _recipe(name: str) -> TokenizerParams:
    return PARAMS.model_copy(update=read_params(ROOT / f"recipes/{name}.yaml").get("tokenizer"))


def test_recipe_of_characters_has_no_token_of_two():
    vocabulary = train_vocabulary(_lines(), _recipe("characters"))
    pieces = set(vocabulary.ids) - set(SPECIAL_TOKENS)
    assert max(len(token.removeprefix("##")) for token in pieces) == 1


def test_recipe_of_words_has_every_word_that_occurs_twice():
    lines = _lines()
    words = Counter(word for line in lines for word, _ in BertPreTokenizer().pre_tokenize_str(line))
    assert len(words) > 400
    assert {word for word, count in words.items() if count > 1} <= set(
        train_vocabulary(lines, _recipe("words")).ids
    )


def test_train_vocabulary_default_trainer_is_not_reproducible():
    """The negative control: without the fix the library itself gives other vocabularies (tokenizers
    #1794).
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    digests = set()
    for _ in range(8):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=400, special_tokens=list(SPECIAL_TOKENS), show_progress=False
        )
        tokenizer.train_from_iterator(_lines(20), trainer)
        digests.add(
            hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()
        )
    assert len(digests) > 1


def test_encode_decode_gives_the_text_back(folder):
    tokenizer = SubwordTokenizer.load(folder)
    lines = _lines()
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(lines)] == lines


@pytest.mark.parametrize(
    "text",
    [
        "A T-shirt, red (and blue).",
        'He says: "stop!" now.',
        "It's 3,5 m; 10:30?",
        "Größe äöü ß",
        "",
    ],
)
def test_decode_puts_punctuation_back(tmp_path, text):
    lines = [text] * 3 + ["abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ"] * 3
    save(train_vocabulary(lines, PARAMS), PARAMS, tmp_path)
    tokenizer = SubwordTokenizer.load(tmp_path)
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


def test_names_are_split_into_subwords(folder):
    tokenizer = SubwordTokenizer.load(folder)
    assert len(tokenizer.encode(["Zomaska"])[0]) > 1


def test_special_tokens_have_berts_first_ids(folder):
    assert (folder / "vocab.txt").read_text().splitlines()[:5] == list(SPECIAL_TOKENS)


def test_transformers_loads_it_and_gives_the_same_ids(folder):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    ours = SubwordTokenizer.load(folder)
    for line in _lines(5):
        assert theirs(line, add_special_tokens=False).input_ids == ours.encode([line])[0]
    assert theirs("a", "b").input_ids[0] == 2
    assert theirs.mask_token_id == 4


def test_load_damaged_file_is_a_data_error(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="run the tokenizer stage"):
        SubwordTokenizer.load(tmp_path)


def test_take_over_puts_special_tokens_first_and_tokenizes_as_the_original(tmp_path):
    """bert-base's order: [PAD], unused rows, then the other special tokens at 100 to 103."""
    from transformers import BertTokenizer

    theirs = [
        "[PAD]",
        "[unused0]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "ca",
        "##fe",
        "cafe",
        "##s",
    ]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in theirs))
    vocabulary = take_over(theirs, tmp_path, PARAMS)
    assert list(vocabulary.ids)[:7] == [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[unused0]",
        "the",
    ]
    own = tmp_path / "own"
    own.mkdir()
    save(vocabulary, PARAMS.model_copy(update={"lowercase": True, "strip_accents": True}), own)
    text = "The Cafés cafe xyz"
    expected = BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=True).tokenize(text)
    tokens = list(vocabulary.ids)
    (ids,) = SubwordTokenizer.load(own).encode([text])
    assert [tokens[number] for number in ids] == expected == ["the", "cafe", "##s", "cafe", "[UNK]"]


def test_a_vocabulary_without_a_last_line_end_keeps_its_last_token(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\na\nlast")
    assert read_vocabulary(tmp_path) == ["[PAD]", "a", "last"]
    (tmp_path / "vocab.txt").write_text("[PAD]\na\nlast\n")
    assert read_vocabulary(tmp_path) == ["[PAD]", "a", "last"]


def test_take_over_without_special_tokens_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"vocab.txt: missing \('\[MASK\]'\) must have BERT's special tokens"
    ):
        take_over(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], tmp_path, PARAMS)
