"""Text comes out as it went in, in every language; BERT's own ids stay BERT's."""

import pytest
from tokenizers.normalizers import BertNormalizer

from pipelines.evaluation.ceiling import ceiling
from pipelines.evaluation.metrics import Folding
from pipelines.formats.text import normalise
from pipelines.formats.tokenizer.spacing import SPACING_TOKENS, guessed_spaces, is_han
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import NUM_SPECIAL_TOKENS, SPECIAL_TOKENS, UNK
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.vocabulary import assembled, save, take_over, train_vocabulary
from tests.languages import SENTENCES

PARAMS = TokenizerParams(
    kind="wordpiece",
    vocabulary_from="data/corpus",
    vocab_size="characters",
    min_frequency=1,
    lowercase=False,
    strip_accents=False,
)
ODD = [
    "He said [SEP] stop [MASK] [PAD] [UNK] [CLS]",
    "[SPACE] and[JOIN]",
    "a - b-c - d",
    "( a ) [b ] {c}",
    "',.;:'' ''",
    '"a" "b "c"',
    "x , y. z ; w",
    "。a 。 中 文 A中",
]


def _tokenizer(lines, params=PARAMS) -> SubwordTokenizer:
    return SubwordTokenizer(assembled(train_vocabulary(lines, params, lines), params))


@pytest.mark.parametrize("language", SENTENCES)
def test_text_comes_back_letter_for_letter(language):
    lines = [normalise(line) for line in SENTENCES[language]]
    assert lines == SENTENCES[language]
    tokenizer = _tokenizer(lines)
    encoded = tokenizer.encode_targets(lines)
    assert [tokenizer.decode(ids) for ids in encoded] == lines
    assert not any(UNK in ids for ids in encoded)
    bleu = "char" if language in ("Chinese", "Japanese", "Khmer") else "13a"
    found = ceiling(tokenizer, lines, Folding(tokenizer=bleu), Folding())
    assert found["bleu"] == found["chrf"] == 100
    assert set(found["lost"]["spacing"].values()) == {0}


def test_all_languages_in_one_vocabulary_and_odd_lines_come_back():
    lines = [*ODD, *(line for group in SENTENCES.values() for line in group)]
    tokenizer = _tokenizer(lines)
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_targets(lines)] == lines


def test_han_characters_are_berts():
    """Every character that BERT makes a word of, of all there are."""
    theirs = BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert [char for char in characters if is_han(char)] == [
        char
        for char in characters
        if theirs.normalize_str(f"a{char}b") == f"a {char} b" and char != " "
    ]


def test_special_tokens_in_text_stay_text():
    tokenizer = _tokenizer(ODD)
    for encode in (tokenizer.encode, tokenizer.encode_targets):
        assert min(min(ids) for ids in encode(ODD)) >= NUM_SPECIAL_TOKENS
    spacing = {tokenizer.vocab_size - 2, tokenizer.vocab_size - 1}
    assert not any(spacing & set(ids) for ids in tokenizer.encode(ODD))


def test_targets_without_surprises_need_no_token_more():
    lines = ["The dog barks.", "Ein Hund, der bellt (laut)!"]
    vocabulary = train_vocabulary(lines, PARAMS, lines)
    assert not set(SPACING_TOKENS) & set(vocabulary.ids)
    tokenizer = SubwordTokenizer(assembled(vocabulary, PARAMS))
    assert tokenizer.encode_targets(lines) == tokenizer.encode(lines)
    more = train_vocabulary(lines, PARAMS, [*lines, "( laut"])
    size = len(vocabulary.ids)
    assert [more.ids[token] for token in SPACING_TOKENS] == [size, size + 1]
    assert {token: more.ids[token] for token in vocabulary.ids} == vocabulary.ids


def test_docstring_example_of_rock_climbing():
    words = ["U", ".", "S", ".", "rock", "-", "climbing"]
    assert guessed_spaces(words) == [False, True, False, True, False, False]
    tokenizer = _tokenizer(["U.S. rock - climbing"])
    (ids,) = tokenizer.encode_targets(["U.S. rock - climbing"])
    pieces = [
        tokenizer.token(index) for index in ids if not tokenizer.token(index).startswith("##")
    ]
    assert pieces == ["U", ".", "[JOIN]", "S", ".", "r", "[SPACE]", "-", "[SPACE]", "c"]


def test_spacing_tokens_in_odd_places_are_harmless():
    tokenizer = _tokenizer(ODD)
    space, join = tokenizer.vocab_size - 2, tokenizer.vocab_size - 1
    (a, b) = tokenizer.encode(["a b"])[0]
    assert tokenizer.decode([space, a, join, space, b, join]) == "a b"
    assert tokenizer.decode([join, a, join, b]) == "ab"
    assert tokenizer.decode([space, join]) == tokenizer.decode([]) == ""


def test_spacing_around_a_word_that_became_unknown():
    tokenizer = _tokenizer(["a - b-c", "x (y)"])
    texts = ["a - ☃-c", "☃ (☃)", "☃ - ☃"]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_targets(texts)] == [
        text.replace("☃", "[UNK]") for text in texts
    ]


@pytest.mark.parametrize("spare", [True, False])
def test_a_vocabulary_taken_over_uses_its_spare_tokens_or_grows_by_two(tmp_path, spare):
    theirs = [*SPECIAL_TOKENS, *(("[unused0]", "[unused1]") * spare), "a", "b", "-"]
    vocabulary = take_over(theirs, tmp_path, PARAMS, ["a - b"])
    assert list(vocabulary.ids) == theirs + [*SPACING_TOKENS] * (not spare)
    tokenizer = SubwordTokenizer(assembled(vocabulary, PARAMS))
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_targets(["a - b", "a-b"])] == [
        "a - b",
        "a-b",
    ]


def test_a_word_of_many_letters_is_spelt():
    tokenizer = _tokenizer(["a" * 101, "ก" * 300])
    for text in ("a" * 101, "ก" * 125, "ก" * 999):
        (ids,) = tokenizer.encode([text])
        assert UNK not in ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.encode(["a" * 1001]) == [[UNK]]


def test_transformers_gives_the_same_ids_on_raw_odd_lines(tmp_path):
    """Text as it comes, not normalised; special tokens as text where they are asked to be
    (docs/text.md).
    """
    from transformers import AutoTokenizer

    lines = [*ODD, *(line for group in SENTENCES.values() for line in group)]
    save(train_vocabulary(lines, PARAMS, lines), PARAMS, tmp_path)
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), SubwordTokenizer.load(tmp_path)
    raw = [*lines, "\ufeffa\u200b b", "Cafe\u0301", "x\u00a0y\x07z", "ก" * 300, "می\u200cروم"]
    for line in raw:
        ids = theirs(line, add_special_tokens=False, split_special_tokens=True).input_ids
        assert ids == ours.encode([normalise(line)])[0], line
    assert theirs("[MASK]", add_special_tokens=False).input_ids == [4]  # fill-mask still works
    assert list(theirs("a", "b")) == ["input_ids", "token_type_ids", "attention_mask"]
