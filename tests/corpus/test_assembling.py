"""From sources to a corpus: splits that stay, leaks, weights, bounds, and accounts that balance."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.corpus.passages import Pair, share_of
from pipelines.corpus.prepare import displaced
from pipelines.corpus.splits import copies_of, hold_out
from pipelines.corpus.trial import chosen
from pipelines.frame.errors import DataError
from tests.corpus.conftest import corpus_params


def _tsv(raw: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    (raw / name).write_text("".join(f"{one}\t{other}\n" for one, other in pairs), encoding="utf-8")
    fields = {"en": 1, "de": 2}
    return {"kind": "table", "files": [name], "fields": fields, "sentences": "lines"}


def _text(raw: Path, name: str, documents: list[list[str]], language: str) -> dict[str, Any]:
    text = "\n".join("".join(f"{line}\n" for line in document) for document in documents)
    (raw / name).write_text(text, encoding="utf-8")
    return {
        "kind": "text",
        "files": [name],
        "language": language,
        "documents": "blank_lines",
        "sentences": "lines",
    }


def _pairs(*numbers: int) -> list[tuple[str, str]]:
    return [(f"number {n} is here", f"Nummer {n} ist hier") for n in numbers]


def _balanced(report: dict[str, Any]) -> None:
    for account in report["sources"].values():
        dropped = sum(one["count"] for one in account["dropped"].values())
        assert account["read"] == sum(account["kept"].values()) + dropped
        assert all(
            len(one["samples"]) == min(5, one["count"]) for one in account["dropped"].values()
        )
    json.dumps(report)


SHARES = {"documents": {"valid": 0.2}, "pairs": {"valid": 0.2, "test": 0.2}}


def test_shares_by_content_move_nothing_when_text_is_added(raw, read):
    few = read({"web": _tsv(raw, "a.tsv", _pairs(*range(200)))}, splits=SHARES)
    new = _tsv(raw, "b.tsv", _pairs(*range(1000, 1300)))
    more = {"new": new, "web": _tsv(raw, "a.tsv", _pairs(*range(200)))}
    many = read(more, splits=SHARES)
    for split in ("train", "valid", "test"):
        assert set(few.pairs[split]) <= set(many.pairs[split])
        assert len(many.pairs[split]) == pytest.approx({"train": 320}.get(split, 90), abs=35)


def test_a_fixed_size_is_exact_and_takes_the_lowest_hashes():
    pairs = [Pair("web", "", "a", n, sides) for n, sides in enumerate(_pairs(*range(500)))]
    taken = hold_out(pairs, "test", 50)
    assert len(taken) == 50
    border = max(share_of(pairs[place].key, "test") for place in taken)
    assert sum(share_of(pair.key, "test") <= border for pair in pairs) == 50
    both = set(taken) & set(hold_out(pairs, "valid", 50))
    assert len(both) < 20  # each split has a hash of its own


def test_all_translations_of_a_sentence_are_in_one_split(raw, read):
    pairs = [(f"sentence {n % 30} here", f"Satz {n} hier") for n in range(120)]
    corpus = read({"web": _tsv(raw, "a.tsv", pairs)}, splits=SHARES)
    sources = [{one for one, _ in corpus.pairs[split]} for split in ("train", "valid", "test")]
    assert all(sources)
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]


LONG = " ".join(f"word{n}" for n in range(13))


def test_held_out_text_leaves_the_training_text(raw, read):
    documents = [[f"Opening {n} of it.", "Good day.", f"Closing {n}."] for n in range(5)]
    documents += [
        [
            "A begins.",
            "The TEST sentence, with all its words, is here!",
            "C ends.",
            f"and {LONG} then",
            "E.",
        ]
    ]
    given = [
        ("The test sentence with all its words is here.", f"Ein {LONG}."),
        ("Good day.", "Guten Tag."),
    ]
    leaking = [
        ("the test sentence with all its words is here", "Anders."),
        ("Other.", f"so {LONG} so"),
    ]
    leaking += [("good day", "Hallo."), ("Fine day.", "Schön.")]
    sources = {
        "given": {**_tsv(raw, "t.tsv", given), "split": "test"},
        "valid": {**_tsv(raw, "v.tsv", _pairs(90, 91)), "split": "valid"},
        "web": {**_tsv(raw, "a.tsv", [*_pairs(*range(20)), *leaking]), "split": "train"},
        "docs": {**_text(raw, "d.txt", documents, "en"), "split": "train"},
    }
    corpus = read(sources)
    report = corpus.report()
    _balanced(report)
    dropped = {name: one["dropped"] for name, one in report["sources"].items()}
    assert dropped["web"]["held_out_text"]["count"] == 3
    assert dropped["docs"]["held_out_text"]["count"] == 2
    assert ["A begins."] in corpus.documents["train", "en"]
    assert ["C ends."] in corpus.documents["train", "en"]
    assert any("Good day." in document for document in corpus.documents["train", "en"])
    assert corpus.pairs["test"] == given
    assert not {"good day", "the test sentence with all its words is here"} & {
        one for one, _ in corpus.pairs["train"]
    }


def test_weights_write_training_text_so_often_and_held_out_text_once(raw, read):
    source = {**_tsv(raw, "a.tsv", _pairs(*range(400))), "weight": 2.5}
    corpus = read({"web": source}, splits=SHARES)
    account = corpus.report()["sources"]["web"]
    assert account["written"]["test"] == account["kept"]["test"] == len(set(corpus.pairs["test"]))
    assert len(corpus.pairs["train"]) == account["written"]["train"]
    assert account["written"]["train"] / account["kept"]["train"] == pytest.approx(2.5, abs=0.15)
    half = read({"web": {**source, "weight": 0.5}}, splits=SHARES)
    report = half.report()
    _balanced(report)
    assert report["sources"]["web"]["dropped"]["weight"]["count"] == pytest.approx(120, abs=30)
    assert half.pairs["test"] == corpus.pairs["test"]
    assert {copies_of(Pair("a", "", "a", 1, one), 3.0) for one in _pairs(1, 2, 3)} == {3}


def test_cleaning_moves_no_document_to_another_split(raw, read):
    documents = [[f"First {n} here.", "x" * 300, f"Third {n} here."] for n in range(60)]
    docs = _text(raw, "d.txt", documents, "en")
    sources = {"docs": docs, "web": _tsv(raw, "a.tsv", _pairs(*range(50)))}
    short = chosen(
        "length",
        ["max_characters=99", "applies_to=documents"],
        [],
        {"en": ["LATIN"], "de": ["LATIN"]},
    )
    plain, cleaned = (
        read(sources, splits=SHARES, filters=filters) for filters in ([], [short.model_dump()])
    )
    for split in ("train", "valid"):
        whole = {document[0] for document in plain.documents[split, "en"]}
        parts = cleaned.documents[split, "en"]
        assert {part[0] for part in parts if part[0].startswith("First")} == whole
        assert all(len(part) == 1 for part in parts)  # no false neighbours


def test_pairs_are_made_of_documents_of_their_own(raw, read):
    documents = [[f"Dr. Who met {n} men.", f"“Hello, {n}!”", "— … —"] for n in range(40)]
    source = _text(raw, "d.txt", documents, "en")
    corpus = read({"docs": source}, source="bare", target="en", make="pairs", splits=SHARES)
    for split, pairs in corpus.pairs.items():
        assert pairs, split
        assert all(one == one.lower() and one.replace(" ", "").isalnum() for one, _ in pairs)
    held_out = {one for split in ("valid", "test") for one, _ in corpus.pairs[split]}
    assert not held_out & {one for one, _ in corpus.pairs["train"]}
    assert all(len(document) == 2 for document in corpus.documents["train", "bare"])
    trained = {line for document in corpus.documents["train", "en"] for line in document}
    assert not {other for _, other in corpus.pairs["test"]} & trained
    report = corpus.report()
    _balanced(report)
    made = report["sources"]["made of documents"]
    assert made["read"] == report["sources"]["docs"]["read"]
    assert made["kept"] == {split: len(pairs) for split, pairs in corpus.pairs.items()}
    assert made["dropped"]["empty"]["count"] == 40
    corpus.check()


def test_a_pair_is_no_leak_for_what_only_validation_documents_have(raw, read):
    """They are read by BERT alone, which pairs are not."""
    sentence = "The same long sentence stands in a document and in a pair."
    documents = [[sentence, "It ends."], ["Another one.", "It ends."]]
    pairs = [(sentence, "Derselbe lange Satz."), *_pairs(*range(9))]
    sources = {
        "valid": {**_text(raw, "d.txt", documents, "en"), "split": "valid"},
        "train": {**_tsv(raw, "a.tsv", pairs), "split": "train"},
        "rest": _tsv(raw, "b.tsv", _pairs(*range(90, 99))),
    }
    assert pairs[0] in read(sources).pairs["train"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"make": "nothing"}, "must hold documents in de and en; add a source, or set make"),
        ({"make": "pairs"}, r"make \(pairs\) must be documents or nothing unless all sources"),
        ({"fields": {"en": 1, "fr": 2}}, r"web \(en, fr\) must be of en and de, the languages"),
        ({"files": ["/etc/passwd"]}, r"must lie in corpus\.raw"),
        ({"files": ["../x"]}, r"must lie in corpus\.raw"),
        ({"files": []}, "at least 1 item"),
        ({"fields": {"en": 1}}, "must hold pairs; add a source of pairs, or set make: pairs"),
        ({"weight": 0.0}, "greater than 0"),
        ({"kind": "tabul"}, "tabul"),
    ],
)
def test_what_the_sources_lack_is_told(raw, change, message):
    source = _tsv(raw, "a.tsv", _pairs(1))
    make = change.get("make", "documents")
    source |= {key: value for key, value in change.items() if key != "make"}
    with pytest.raises(ValidationError, match=message):
        corpus_params({"web": source}, make=make)


def test_a_fixed_size_says_what_it_displaced(raw, read, tmp_path):
    path = tmp_path / "held_out.json"
    sizes = {"documents": {"valid": 2}, "pairs": {"valid": 10, "test": 20}}
    few = read({"web": _tsv(raw, "a.tsv", _pairs(*range(100)))}, splits=sizes)
    assert displaced(few, path) == ""
    assert displaced(few, path) == ""
    many = read({"web": _tsv(raw, "a.tsv", _pairs(*range(200)))}, splits=sizes)
    gone = {split: len(set(few.pairs[split]) - set(many.pairs[split])) for split in few.pairs}
    assert gone["test"] > 0
    said = displaced(many, path)
    assert f"; {gone['test']} of the 20 test pairs of the last run were displaced" in said


def test_sizes_that_leave_nothing_to_train_on_are_told(raw, read):
    sizes = {"documents": {"valid": 2}, "pairs": {"valid": 100, "test": 100}}
    message = r"corpus\.reader\.splits \(test 100, valid 100\) must leave training text.+20 pairs"
    with pytest.raises(DataError, match=message):
        read({"web": _tsv(raw, "a.tsv", _pairs(*range(20)))}, splits=sizes)


def test_only_duplicates_leave_too_little(raw, read):
    same = {"name": "duplicates", "applies_to": "all", "of": "pair"}
    sizes = {"documents": {"valid": 1}, "pairs": {"valid": 1, "test": 1}}
    with pytest.raises(DataError, match=r"must leave training text, but there are 1 pairs in all"):
        read({"web": _tsv(raw, "a.tsv", _pairs(*[7] * 50))}, filters=[same], splits=sizes)
