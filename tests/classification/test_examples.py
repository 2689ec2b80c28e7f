"""Tables read strictly; the word-order task made from a corpus."""

from pathlib import Path

import pytest

from pipelines.classification.examples import Example, read_tables, word_order
from pipelines.frame.errors import DataError


def _tables(folder: Path, **changed: str) -> Path:
    texts = {"train": "label\ttext\nyes\tA b.\nno\tC d.\n", "valid": "label\ttext\nno\tE.\n"}
    for split, text in {**texts, "test": "label\ttext\nyes\tF.\n", **changed}.items():
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


def test_read_tables_one_text_and_pairs(tmp_path):
    assert read_tables(_tables(tmp_path))["train"] == [
        Example("yes", "A b."),
        Example("no", "C d."),
    ]
    pairs = 'label\ttext\ttext_pair\r\nno\tE "q\tF\r\n'
    assert read_tables(_tables(tmp_path, valid=pairs))["valid"] == [Example("no", 'E "q', "F")]


@pytest.mark.parametrize(
    ("split", "text", "message"),
    [
        ("valid", "text\tlabel\nA\tyes\n", r"valid.tsv:1: header .* must be 'label', 'text'"),
        ("valid", "label\ttext\nyes A\n", r"valid.tsv:2: line \('yes A'\) must have 2 columns"),
        ("valid", "label\ttext\nyes\tA\nyes\t \n", r"valid.tsv:3: line"),
        (
            "valid",
            "label\ttext\nmaybe\tA\n",
            r"valid.tsv:2: label \('maybe'\) must be one of train.tsv's \(no, yes\)",
        ),
        ("test", "label\ttext\n", r"test.tsv: examples \(0\) must be at least 1"),
        ("train", "label\ttext\nyes\tA\n", r"train.tsv: labels \(1\) must be at least 2"),
    ],
)
def test_read_tables_bad_table_is_named_with_its_line(tmp_path, split, text, message):
    with pytest.raises(DataError, match=message):
        read_tables(_tables(tmp_path, **{split: text}))


def test_read_tables_missing_or_not_utf8_is_a_data_error(tmp_path):
    (_tables(tmp_path) / "test.tsv").write_bytes(b"label\ttext\nyes\t\xff\n")
    with pytest.raises(DataError, match=r"test.tsv: cannot be read .*UTF-8"):
        read_tables(tmp_path)
    (tmp_path / "valid.tsv").unlink()
    with pytest.raises(DataError, match=r"valid.tsv: cannot be read"):
        read_tables(tmp_path)


def _corpus(folder: Path, sentences: list[str]) -> Path:
    for split in ("train", "valid", "test"):
        for language in ("en", "de"):
            text = "".join(f"{sentence}\n" for sentence in sentences)
            (folder / f"pairs.{split}.{language}.txt").write_text(text, encoding="utf-8")
    return folder


def test_word_order_swaps_two_inner_neighbours_of_every_sentence(tmp_path):
    sentences = [f"A{number} b c d e f." for number in range(50)]
    examples = word_order(_corpus(tmp_path, [*sentences, "Too short."]), ("en", "de"), seed=1)[
        "train"
    ]
    assert [example.label for example in examples] == ["intact", "swapped"] * 100
    places = set()
    for intact, swapped in zip(examples[::2], examples[1::2], strict=True):
        before, after = intact.text.split(), swapped.text.split()
        moved = [place for place in range(len(before)) if before[place] != after[place]]
        assert moved[1] == moved[0] + 1
        assert sorted(before) == sorted(after)
        places.add(moved[0])
    assert places == {1, 2, 3}


def test_word_order_without_long_sentences_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"train pairs: examples \(0\) must be at least 1"):
        word_order(_corpus(tmp_path, ["a a a a."]), ("en", "de"), seed=1)
