"""What a tokenizer loses is measured and said, with the key to change."""

import pytest

from pipelines.evaluation.metrics import Folding
from pipelines.formats.text_rules import folded
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import SPECIAL_TOKENS
from pipelines.frame.errors import DataError
from pipelines.tokenizer.params import TokenizerParams
from pipelines.tokenizer.quality import quality, warnings_of
from pipelines.tokenizer.vocabulary import assembled, take_over, train_vocabulary
from tests.languages import SENTENCES


def _params(**changes) -> TokenizerParams:
    shipped = {
        "kind": "wordpiece",
        "vocabulary_from": "x",
        "vocab_size": 400,
        "min_frequency": 1,
        "lowercase": False,
    }
    return TokenizerParams(**{**shipped, "strip_accents": False, **changes})


def _measured(lines, vocabulary, params):
    tokenizer = SubwordTokenizer(assembled(vocabulary, params))
    found = quality(tokenizer, params, lines, lines)
    return found, list(warnings_of(found, tokenizer, params, lines))


def test_uncased_vocabulary_under_a_cased_tokenizer_names_the_key(tmp_path):
    lines = ["The Cat sat", "The Dog Ran"]
    params = _params()
    vocabulary = take_over([*SPECIAL_TOKENS, "the", "cat", "sat", "dog", "ran"], tmp_path, params)
    found, (warning,) = _measured(lines, vocabulary, params)
    assert (found["unknown_words"], found["unknown_share"]) == (5, round(5 / 6, 6))
    assert found["unknown_character_share"] == pytest.approx(15 / 18, abs=1e-6)
    assert warning.endswith(
        "set lowercase: true in tokenizer and in evaluation, as the vocabulary was made"
    )
    assert "83.3 % are ('The', …)" in warning
    assert _measured(lines, vocabulary, _params(lowercase=True))[1] == []


def test_vocabulary_without_accents_and_of_another_language_name_what_helps(tmp_path):
    params = _params(lowercase=True)
    vocabulary = take_over([*SPECIAL_TOKENS, "cafe", "a", "la"], tmp_path, params)
    assert "set strip_accents: true in" in _measured(["café à la"] * 3, vocabulary, params)[1][0]
    assert "train a vocabulary" in _measured(["Привет мир"], vocabulary, params)[1][0]


def test_a_long_word_counts_as_all_its_letters():
    lines = ["a" * 2000, "b c d"]
    found, (warning,) = _measured(lines, train_vocabulary(lines, _params()), _params())
    assert found["unknown_words"] == 1
    assert found["unknown_character_share"] == pytest.approx(2000 / 2003, abs=1e-6)
    assert "99.9 %" in warning


@pytest.mark.parametrize(
    "language", ["Hindi", "Thai", "Tamil", "Japanese", "Arabic", "Hebrew", "Russian", "Khmer"]
)
def test_stripping_marks_that_are_no_accents_is_said(language):
    lines = {"Hebrew": ["שָׁלוֹם"], "Japanese": ["ガギグ、パピプ"], "Arabic": ["أهلاً يَومٌ"]}.get(
        language, SENTENCES[language]
    )
    params = _params(strip_accents=True, vocab_size="characters")
    found, (warning,) = _measured(lines, train_vocabulary(lines, params), params)
    assert found["marks_lost_share"] > 0.01
    assert (
        "tokenizer.strip_accents (true) must be false where marks are vowels or letters" in warning
    )
    assert f"{100 * found['marks_lost_share']:.1f} % of the words" in warning


@pytest.mark.parametrize("language", ["German", "French", "Spanish", "Greek", "Korean", "Chinese"])
def test_stripping_accents_alone_is_not(language):
    lines = SENTENCES[language]
    params = _params(strip_accents=True, vocab_size="characters")
    assert _measured(lines, train_vocabulary(lines, params), params)[1] == []


def test_stripped_text_is_composed_again():
    """BERT's own normalizer leaves Korean in pieces."""
    assert folded(["한국어 Größe"], lowercase=False, strip_accents=True) == ["한국어 Große"]
    params = _params(vocab_size="characters", strip_accents=True)
    tokenizer = SubwordTokenizer(assembled(train_vocabulary(["한국어"], params), params))
    assert tokenizer.decode(tokenizer.encode(["한국어"])[0]) == "한국어"


def test_a_word_of_nothing_but_marks_leaves_no_spaces():
    assert folded(["a \u0486 b \u0486"], lowercase=False, strip_accents=True) == ["a b"]


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("strip_accents", [False, True])
def test_tokenizer_and_evaluation_fold_alike(language, strip_accents):
    """What comes out of a folding tokenizer is what evaluation makes of the reference; final sigma,
    dotless i.
    """
    params = _params(vocab_size="characters", lowercase=True, strip_accents=strip_accents)
    lines = SENTENCES[language]
    tokenizer = SubwordTokenizer(assembled(train_vocabulary(lines, params, lines), params))
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_targets(lines)] == Folding(
        True, strip_accents
    )(lines)


def test_vocabulary_smaller_than_the_alphabet_is_refused_with_its_size():
    lines = [chr(0x4E00 + number) + chr(0x4E00 + number // 2) for number in range(3000)]
    with pytest.raises(DataError) as refused:
        train_vocabulary(lines, _params(vocab_size=2000))
    assert (
        "params.yaml: tokenizer.vocab_size (2000) must be at least 3005: the training text has 3000"
        in str(refused.value)
    )
    assert len(train_vocabulary(lines, _params(vocab_size=3005)).ids) == 3005
    assert len(train_vocabulary(lines, _params(vocab_size="characters")).ids) == 3005


def test_vocabulary_of_letters_needs_each_twice_and_room_for_spacing():
    lines = ["ab - cd"]
    with pytest.raises(
        DataError, match="at least 17: the training text has 5 different characters"
    ):
        train_vocabulary(
            lines,
            TokenizerParams.model_construct(**{**_params().model_dump(), "vocab_size": 16}),
            lines,
        )
