"""Each filter: what it drops and what it must not; document bounds; planted duplicates."""

import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipelines.corpus.cleaning import apply, clean
from pipelines.corpus.filters import AnyFilter
from pipelines.corpus.ledger import Account, Ledger
from pipelines.corpus.passages import Document, Pair
from pipelines.corpus.trial import FILTERS, chosen
from pipelines.frame.errors import DataError, ParamsError


def _filter(name: str, *settings: str, applies_to: str = "") -> AnyFilter:
    """As `corpus.try` suggests it, with some keys changed."""
    also = [f"applies_to={applies_to}"] if applies_to else []
    return chosen(name, [*settings, *also], [], {"en": ["LATIN"], "de": ["LATIN"]})


def _ledger() -> Ledger:
    return Ledger(("en", "de"), {"web": Account("documents"), "pairs": Account("pairs")})


def _document(*sentences: str, language: str = "en") -> Document:
    return Document("web", "", language, "a.txt", [*range(1, len(sentences) + 1)], [*sentences])


def _pair(source: str, target: str) -> Pair:
    return Pair("pairs", "", "a.tsv", 1, (source, target))


def _kept_sentences(each: AnyFilter, *sentences: str, language: str = "en") -> list[str]:
    kept = apply(each, [_document(*sentences, language=language)], _ledger())
    return [one for document in kept for one in document.sentences if one]


GOOD_EN = "The old sailor tells a long story about the cold winter of that year."
GOOD_DE = "Der alte Seemann erzählt eine lange Geschichte über den kalten Winter."


@pytest.mark.parametrize(
    ("each", "language", "dropped", "kept"),
    [
        (("length", "max_words=5"), "en", ["a b c d e f"], ["a b c d e", "a"]),
        (("length", "max_words=5"), "en", ["猫が座った。と"], ["猫が座った"]),
        (("length", "min_characters=3"), "en", ["ab"], ["abc"]),
        (("letters",), "en", ["--- 12,3 ---", "1 2 3 a"], ["a 1", GOOD_EN, "नमस्ते दुनिया।", "ไทย"]),
        (("script",), "en", ["Привет мир", "猫が座った"], [GOOD_EN, "12", "Moscow (Москва)"]),
        (
            ("script", "scripts={en: [CJK, HIRAGANA]}"),
            "en",
            ["Hello"],
            ["猫が座った", "GPU で座った"],
        ),
        (
            ("repetition",),
            "en",
            ["buy it now buy it now buy it now"],
            [GOOD_EN, "no no no", "ha ha"],
        ),
        (("language",), "en", [GOOD_DE], [GOOD_EN, "Guten Tag", "12 34"]),
        (("language",), "xx", [], [GOOD_DE, GOOD_EN]),
    ],
)
def test_sentences_are_dropped_and_kept(each, language, dropped, kept):
    found = _kept_sentences(_filter(*each), *dropped, *kept, language=language)
    assert found == kept


@pytest.mark.parametrize(
    ("each", "dropped", "kept"),
    [
        (("length_ratio",), ("a b c d e f g", "a b"), ("a b c d", "a")),
        (
            ("length_ratio", "unit=characters"),
            ("a b c d eeeeeeeeeeeeeeeeeeeeeeeeeeee", "a b c d e"),
            ("猫", "The cat"),
        ),
        (("copies",), ("Hello, World!", "hello world"), ("Hello", "Hallo")),
        (("copies",), ("...", "..."), ("...", "!")),
        (("numbers",), ("In 1984 it was", "Es war 1985"), ("In 1,984 it", "Es war 1.984")),
        (("numbers",), ("12 and 13", "12"), ("two and 3", "2 und drei")),
        (("numbers",), ("20 men", "Männer"), ("२० जन", "20 men")),
        (("language",), (GOOD_EN, GOOD_EN), (GOOD_EN, GOOD_DE)),
        (("letters",), (GOOD_EN, "12 34 56"), ("A b.", "C d.")),
    ],
)
def test_one_side_drops_the_pair(each, dropped, kept):
    ledger = _ledger()
    left = apply(_filter(*each), [_pair(*dropped), _pair(*kept)], ledger)
    assert [pair.sides for pair in left] == [kept]
    sample = ledger.accounts["pairs"].dropped[each[0]].samples[0]
    assert sample == {"where": "a.tsv:1", "text": " ||| ".join(dropped)[:120]}


def test_what_a_document_loses_parts_its_neighbours():
    document = _document("One is good.", "x" * 99, "Three is good.", "Four is good.")
    apply(_filter("length", "max_characters=50"), [document], _ledger())
    assert document.fragments() == [["One is good."], ["Three is good.", "Four is good."]]


def test_lines_that_a_document_repeats_stay_a_few_times():
    found = _kept_sentences(_filter("repetition", "max_times=2"), *["Amen."] * 5, "So.")
    assert found == ["Amen.", "Amen.", "So."]


def test_boilerplate_is_what_many_documents_have_of_one_language():
    documents = [_document(f"Text {n}.", "Share this!") for n in range(10)]
    other = _document("Share this!", language="de")
    ledger = _ledger()
    kept = apply(_filter("boilerplate", "min_documents=10"), [*documents, other], ledger)
    assert ledger.accounts["web"].dropped["boilerplate"].count == 10
    assert [document.fragments() for document in kept[:2]] == [[["Text 0."]], [["Text 1."]]]
    assert other.fragments() == [["Share this!"]]


@pytest.mark.parametrize(("of", "count"), [("pair", 3), ("source", 2), ("target", 2)])
def test_exact_duplicates_leave_the_first(of, count):
    texts = [("A cat.", "Eine Katze."), ("a CAT", "eine katze!"), ("A cat.", "Ein Kater.")]
    pairs = [_pair(*sides) for sides in [*texts, ("Tom.", "Ein Kater.")]]
    kept = apply(_filter("duplicates", f"of={of}"), pairs, _ledger())
    assert len(kept) == count
    assert kept[0] is pairs[0]
    documents = [_document("A.", "B."), _document("A.", "b!"), _document("A.")]
    documents.append(_document("A.", "B.", language="de"))
    assert apply(_filter("duplicates"), documents, _ledger()) == [documents[0], *documents[2:]]


def _planted(count: int, seed: int) -> tuple[list[Document], set[int]]:
    """Random documents, and after them near copies of the first tenth: one word in forty is
    another.
    """
    stream = random.Random(seed)
    words = [f"word{n}" for n in range(5000)]
    texts = [[stream.choice(words) for _ in range(stream.randint(60, 200))] for _ in range(count)]
    for text in texts[: count // 10]:
        copy = list(text)
        for place in stream.sample(range(len(copy)), max(1, len(copy) // 80)):
            copy[place] = stream.choice(words)
        texts.append(copy)
    return [_document(" ".join(text)) for text in texts], set(range(count, len(texts)))


def test_near_duplicates_finds_what_is_planted_and_nothing_else():
    documents, planted = _planted(1000, 1)
    kept = apply(_filter("near_duplicates"), documents, _ledger())
    dropped = {place for place, one in enumerate(documents) if not any(one.sentences)}
    assert len(dropped & planted) >= 0.95 * len(planted)
    assert dropped <= planted
    assert len(kept) + len(dropped) == len(documents)


def test_near_duplicates_is_the_jaccard_index_by_hand():
    one = "a b c d e f g h i j k l"
    near, far = "a b c d e f g h i j k x", "a b c d e x g h i j k l"
    pairs = [_pair(one, "t"), _pair(near, "t"), _pair(far, "t")]
    each = _filter("near_duplicates", "ngram=2", "threshold=0.7")
    # runs of two words of the pair: 12 each; near shares 10 of 14, far 10 of 14 = 0.71
    assert len(apply(each, list(pairs), _ledger())) == 1
    each = _filter("near_duplicates", "ngram=2", "threshold=0.75")
    assert len(apply(each, list(pairs), _ledger())) == 3


def test_filters_leave_given_test_text_alone_and_judge_splits_apart():
    same = ("A cat.", "Eine Katze.")
    splits = ["train", "valid", "test", "test", "train"]
    pairs: list[Any] = [Pair("pairs", split, "a", 1, same) for split in splits]
    kept = clean(pairs, [_filter("duplicates")], _ledger())
    assert [pair.split for pair in kept] == ["train", "valid", "test", "test"]


def test_a_filter_that_keeps_nothing_is_told_with_an_example():
    message = (
        r"corpus\.reader\.filters\.1 \(length\) must keep some pairs, but dropped all, first "
        r"a\.tsv:1: 'a \|\|\| b'; loosen it: `python -m pipelines\.corpus\.try length`"
    )
    with pytest.raises(DataError, match=message):
        clean([_pair("a", "b")], [_filter("copies"), _filter("length", "min_words=3")], _ledger())


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_has_suggestions_that_keep_good_text_and_strict_keys(name):
    each = _filter(name)
    passages: list[Any] = [_document(GOOD_EN, "She sleeps now."), _pair(GOOD_EN, GOOD_DE)]
    assert apply(each, passages, _ledger()) == passages
    assert passages[0].fragments() == [[GOOD_EN, "She sleeps now."]]
    with pytest.raises(ValidationError):
        TypeAdapter(AnyFilter).validate_python({**each.model_dump(), "more": 1})
    values = {key: value for key, value in each.model_dump().items() if key != "applies_to"}
    with pytest.raises(ValidationError, match="applies_to"):
        TypeAdapter(AnyFilter).validate_python(values)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lenth", [], r"FILTER \('lenth'\) must be one of .*; did you mean 'length'\?"),
        ("length", ["max_word=3"], r"must be KEY=VALUE, KEY one of .*; did you mean 'max_words'\?"),
        ("length", ["max_words=many"], r"max_words \('many'\) must"),
        ("length", ["max_words=[1"], r"max_words \('\[1'\) must be a value as in params\.yaml"),
        ("length", ["min_words=9", "max_words=3"], r"min_words \(9\) must not exceed max_words"),
        ("script", ["scripts={en: [LATINO]}"], r"script 'LATINO' must begin the names"),
    ],
)
def test_what_is_tried_wrongly_is_told(name, settings, message):
    with pytest.raises(ParamsError, match=message):
        _filter(name, *settings)
