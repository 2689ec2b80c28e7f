"""A recipe for somebody's folder of text: what is found, split, written, refused."""

import gzip
import json
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.assembling import read_corpus
from pipelines.corpus.params import CorpusParams
from pipelines.frame.errors import DataError, MasklineError, ParamsError
from pipelines.frame.params_reader import plain, validate
from pipelines.params.new import pairs as pairs_module
from pipelines.params.new.find import find
from pipelines.params.new.recipe import new, new_of_documents
from pipelines.params.new.sizes import Counts, guess
from pipelines.params.recipes import with_recipes
from pipelines.params.rules import problems_of
from tests.conftest import ROOT

SPEED = 1e11
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
EN = [f"The {a} cats of {b} see {c}." for a in NUMBERS for b in NUMBERS for c in NUMBERS[:3]]
FR = [
    line.replace("The", "Les").replace("cats of", "chats de").replace("see", "voient")
    for line in EN
]

_PACKED = gzip.compress(b"text " * 9999)
CORRUPT = _PACKED[:20] + b"\x00" * 9 + _PACKED[29:]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    (folder / "recipes").mkdir(parents=True)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(folder)
    return folder


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _two_files(folder: Path) -> None:
    (folder / "corpus.en").write_text("\n".join(EN) + "\n", encoding="utf-8")
    (folder / "corpus.fr").write_text("\n".join(FR) + "\n", encoding="utf-8")


def _folders_and_gz(folder: Path) -> None:
    for language, lines in (("en", EN), ("fr", FR)):
        (folder / language).mkdir()
        with gzip.open(folder / language / "Train Set.txt.gz", "wt", encoding="utf-8") as file:
            file.write("\r\n".join(lines))


def _jsonl(folder: Path) -> None:
    rows = [json.dumps({"id": 1, "en": en, "fr": fr}) for en, fr in zip(EN, FR, strict=True)]
    (folder / "données.jsonl").write_text("\n".join(rows), encoding="utf-8")


def _csv(folder: Path) -> None:
    rows = [f'"{en}",{fr}' for en, fr in zip(EN, FR, strict=True)]
    (folder / "all.csv").write_text("source,target\n" + "\n".join(rows), encoding="utf-8")


def _tsv(folder: Path) -> None:
    rows = [f"{en}\t{fr}" for en, fr in zip(EN, FR, strict=True)]
    (folder / "pairs").write_text("\n".join(rows), encoding="utf-8")


def _utf_16(folder: Path) -> None:
    for language, lines in (("en", EN), ("fr", FR)):
        (folder / f"windows_{language}.txt").write_text("\r\n".join(lines), encoding="utf-16")


@pytest.mark.parametrize("form", [_two_files, _folders_and_gz, _jsonl, _csv, _tsv, _utf_16])
@pytest.mark.parametrize("name", ["plain", "odd [x]* {a} ñ 'q' $HOME"])
def test_each_form_and_folder_gives_the_same_text_and_a_recipe_that_is_right(
    checkout, tmp_path, form, name
):
    folder = tmp_path / name
    folder.mkdir()
    form(folder)
    said = "\n".join(new("mine", ("en", "fr"), folder, 10, SPEED))
    assert "make check RECIPE=mine && make plan RECIPE=mine" in said
    assert "make run RECIPE=mine" in said
    assert "240 pairs" in said
    assert said.count("drawn from the training pairs") == 2
    assert said.count("was UTF-16") == (2 if form is _utf_16 else 0)
    raw = checkout / "data/raw/mine"
    found = {split: _lines(raw / f"{split}.en") for split in ("train", "valid", "test")}
    assert [len(lines) for lines in found.values()] == [240, 30, 30]
    assert sorted(line for lines in found.values() for line in lines) == sorted(EN)
    for split, lines in found.items():
        assert _lines(raw / f"{split}.fr") == [FR[EN.index(line)] for line in lines]
    documents = _lines(raw / "documents.train.en")
    assert [line for line in documents if line] == found["train"]
    assert problems_of(with_recipes(["mine"])) == []
    recipe = plain(with_recipes(["mine"]).root)
    assert recipe["bert"]["segments"]["nsp"] == "none"
    assert set(recipe["seq2seq"]["architectures"]) == {"gru_attention", "transformer", "bert2bert"}
    assert len(_lines(checkout / "recipes/mine.yaml")) <= 45


def test_named_splits_and_documents_are_kept_and_test_pairs_are_no_training_pairs(
    checkout, tmp_path
):
    folder = tmp_path / "text"
    folder.mkdir()
    parts = {"train": slice(0, 300), "dev": slice(200, 220), "test": slice(220, 240)}
    for split, part in parts.items():
        for language, lines in (("en", EN), ("fr", FR)):
            (folder / f"{split}.{language}").write_text("\n".join(lines[part]), encoding="utf-8")
    (folder / "articles.en.txt").write_text("One.\nTwo.\n\nThree.\nFour.\n", encoding="utf-8")
    (folder / "empty.en").write_text("", encoding="utf-8")
    said = "\n".join(new("mine", ("en", "fr"), folder, 10, SPEED))
    raw = checkout / "data/raw/mine"
    assert _lines(raw / "valid.en") == EN[200:220]
    assert _lines(raw / "test.fr") == FR[220:240]
    assert _lines(raw / "train.en") == EN[:200] + EN[240:]
    assert _lines(raw / "documents.train.en")[:5] == ["One.", "Two.", "", "Three.", "Four."]
    assert "40 × twice" in said
    assert "empty.en has no other side" in said
    assert plain(with_recipes(["mine"]).root)["bert"]["segments"]["nsp"] == "random"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it is empty"),
        ({"a.de": "x"}, "a.de named neither for en nor for fr"),
        ({"a.en": "x\n" * 50}, "a.en has no other side"),
        ({"a.en": "x\n", "a.fr": "y\n"}, "training pairs (1) must be at least 40"),
        ({"a.en": "x\n" * 50, "a.fr": "y\n" * 49}, "number of lines (50 and 49) must be equal"),
        ({"a.jsonl": '{"text": "x"}\n'}, "has no fields en and fr (text)"),
        ({"a.json": '[\n  {"en": "x", "fr": "y"}\n]\n'}, "(no record on a line of its own)"),
        ({"a.jsonl": '{"en": "x", "fr": "y"}\n[1]\n'}, "a.jsonl:2: must be a record"),
        ({"a.csv": "en,fr\n" + "x" * 10_000_001 + ",y\n"}, "a.csv: must be a table (field larger"),
        ({"a.en.gz": CORRUPT, "a.fr.gz": CORRUPT}, "cannot be read"),
        ({"photo.jpg": bytes(range(256)) * 99}, "photo.jpg named neither for en nor for fr"),
        ({"a.jsonl": '{"en": "x", "fr": "y"}\n{"en": 1}\n'}, "a.jsonl:2: must be a record"),
        ({"a.en": b"caf\xe9\n" * 50, "a.fr": "y\n" * 50}, "iconv -f WINDOWS-1252"),
        ({"a.en.gz": b"no gzip", "a.fr.gz": b"no gzip"}, "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_is_written(checkout, tmp_path, files, message):
    folder = tmp_path / "text"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        list(new("mine", ("en", "fr"), folder, 10, SPEED))
    assert message in str(caught.value)
    assert not (checkout / "data").exists()
    assert not list((checkout / "recipes").iterdir())


@pytest.mark.parametrize(
    ("name", "languages", "minutes", "message"),
    [
        ("Mine", ("en", "fr"), 10, "NAME ('Mine') must be lower-case letters"),
        ("mine", ("en", "en"), 10, "--target ('en') must differ from --source"),
        ("mine", ("en", "fr"), 1, "--minutes (1) must be at least 3"),
        ("mine", ("en", "fr"), float("nan"), "--minutes (nan) must be at least 3"),
        ("taken", ("en", "fr"), 10, "must not be there yet"),
    ],
)
def test_wrong_arguments(checkout, tmp_path, name, languages, minutes, message):
    _two_files(tmp_path)
    (checkout / "recipes/taken.yaml").write_text("seed: 1\n")
    with pytest.raises(ParamsError) as caught:
        list(new(name, languages, tmp_path, minutes, SPEED))
    assert message in str(caught.value)
    assert not (checkout / "data").exists()


def test_a_recipe_that_does_not_go_with_params_leaves_nothing(checkout, tmp_path):
    path = checkout / "params.yaml"
    path.write_text(path.read_text().replace("    max_length: 96", "    max_length: 960"))
    path.write_text(path.read_text().replace("num_heads: 4", "num_heads: 7", 1))
    path.write_text(path.read_text().replace("beam_size: 5 ", "beam_size: 0 "))
    _two_files(tmp_path)
    with pytest.raises(MasklineError, match="beam_size"):
        list(new("mine", ("en", "fr"), tmp_path, 10, SPEED))
    assert not (checkout / "data/raw/mine").exists()
    assert not (checkout / "recipes/mine.yaml").exists()


def test_more_time_and_more_text_are_larger_and_longer():
    small = Counts(words=30_000, letters=60, longest=40, mean=10.0, too_long=0)
    large = Counts(words=3_000_000, letters=60, longest=40, mean=10.0, too_long=0)
    chinese = Counts(words=30_000, letters=3_000, longest=40, mean=10.0, too_long=0)
    ten = guess(small, 1_200, 10, SPEED)
    assert guess(small, 1_200, 20, SPEED).seq2seq_updates > ten.seq2seq_updates
    longer = guess(large, 100_000, 60, SPEED)
    assert longer.bert_updates > 4 * guess(large, 100_000, 10, SPEED).bert_updates
    assert guess(large, 100_000, 10, SPEED).vocab_size > 2 * ten.vocab_size
    assert guess(large, 100_000, 10, SPEED).width > ten.width
    assert guess(chinese, 1_200, 10, SPEED).vocab_size >= 9_000
    assert guess(small, 1_200, 10, SPEED / 9).bert_updates < ten.bert_updates


def test_a_language_in_a_folder_name_is_not_taken_for_the_file_s(tmp_path):
    folder = tmp_path / "en-fr"
    folder.mkdir()
    _two_files(folder)
    (found,) = find(folder, ("en", "fr")).pairs
    assert (found.source.name, found.target.name) == ("corpus.en", "corpus.fr")
    assert pairs_module.lines_of(found.source) == EN


def test_records_that_lack_a_side_are_left_out_and_counted(checkout, tmp_path):
    rows = [json.dumps({"en": en, "fr": fr}) for en, fr in zip(EN, FR, strict=True)]
    rows[3] = '{"en": null, "fr": "Oui."}'
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert "1 × with an empty side" in "\n".join(
        new("one", ("en", "fr"), tmp_path / "text", 10, SPEED)
    )
    (tmp_path / "table").mkdir()
    lines = [f"{en}\t{fr}" for en, fr in zip(EN, FR, strict=True)]
    (tmp_path / "table/b.tsv").write_text("\n".join([*lines, "alone"]), encoding="utf-8")
    assert "1 × with an empty side" in "\n".join(
        new("two", ("en", "fr"), tmp_path / "table", 10, SPEED)
    )
    trained = (checkout / "data/raw/one/train.fr").read_text() + (
        checkout / "data/raw/two/train.fr"
    ).read_text()
    assert "None" not in trained


def _tmx(folder: Path) -> None:
    units = "".join(
        f"<tu><tuv xml:lang='en-GB'><seg>{en}</seg></tuv>"
        f"<tuv xml:lang='fr'><seg>{fr}</seg></tuv></tu>"
        for en, fr in zip(EN, FR, strict=True)
    )
    (folder / "memory.tmx").write_text(f"<tmx><body>{units}</body></tmx>", encoding="utf-8")


def _opus(folder: Path) -> None:
    with zipfile.ZipFile(folder / "en-fr.txt.zip", "w") as archive:
        archive.writestr("X.en-fr.en", "".join(f"{line}\n" for line in EN))
        archive.writestr("X.en-fr.fr", "".join(f"{line}\n" for line in FR))


def _parquet(folder: Path) -> None:
    pq.write_table(pa.table({"id": list(range(300)), "en": EN, "fr": FR}), folder / "t.parquet")


def _packed(folder: Path) -> None:
    for name, lines in (("a.en.xz", EN), ("a.fr.xz", FR)):
        (folder / name).write_bytes(lzma.compress("\n".join(lines).encode()))


@pytest.mark.parametrize("form", [_tmx, _opus, _parquet, _packed])
def test_other_forms_give_the_same_pairs(checkout, tmp_path, form):
    folder = tmp_path / "text"
    folder.mkdir()
    form(folder)
    said = "\n".join(new("mine", ("en", "fr"), folder, 10, SPEED))
    assert "240 pairs" in said
    raw = checkout / "data/raw/mine"
    found = [line for split in ("train", "valid", "test") for line in _lines(raw / f"{split}.en")]
    assert sorted(found) == sorted(EN)


ARTICLES = [
    [f"Article {n} is about Dr. {name}.", "It was cold; nobody came.", f"In {n}, they left again."]
    for n in range(12)
    for name in NUMBERS
]


def _books(folder: Path) -> None:
    for number, article in enumerate(ARTICLES):
        (folder / f"{number}.txt").write_text(" ".join(article) + "\n", encoding="utf-8")
    (folder / "cover.jpg").write_bytes(b"\xff\xd8\x00")


def _wiki(folder: Path) -> None:
    text = "".join(f" = T {n} = \n\n {' '.join(one)} \n\n" for n, one in enumerate(ARTICLES))
    (folder / "wiki.txt.gz").write_bytes(gzip.compress(text.encode()))


def _wrapped(folder: Path) -> None:
    blocks = [
        " ".join(one).replace(" is ", " is\n").replace(" they ", "\nthey ") for one in ARTICLES
    ]
    (folder / "book.txt").write_text("\n\n".join(blocks), encoding="utf-8")


def _lines_form(folder: Path) -> None:
    (folder / "a.txt").write_text("\n\n".join("\n".join(one) for one in ARTICLES), encoding="utf-8")


def _reviews(folder: Path) -> None:
    rows = "".join(f'{n};5;"{" ".join(one)}"\r\n' for n, one in enumerate(ARTICLES))
    (folder / "reviews.csv").write_text("id;stars;Review text\r\n" + rows, encoding="utf-8")


@pytest.mark.parametrize(
    ("form", "documents", "sentences"),
    [
        (_books, "each file is one", "split, several on a line"),
        (_wiki, "a heading begins one", "split, several on a line"),
        (_wrapped, "a blank line ends one", "split, across line ends"),
        (_lines_form, "a blank line ends one", "one on a line"),
        (_reviews, "each row is one", "split, several on a line"),
    ],
)
def test_text_of_one_language_gives_a_recipe_that_reads_it_as_it_is(
    checkout, tmp_path, form, documents, sentences
):
    folder = tmp_path / "text"
    folder.mkdir()
    form(folder)
    said = "\n".join(new_of_documents("mine", "en", folder, 10, SPEED))
    assert f"documents: {documents}; sentences: {sentences}" in said
    assert ("cover.jpg is no UTF-8 text" in said) == (form is _books)
    laid = with_recipes(["mine"])
    assert problems_of(laid) == []
    params = validate(laid, "corpus", CorpusParams)
    corpus = read_corpus(params, params.reader)
    found = [one for split in ("train", "valid") for one in corpus.documents[split, "en"]]
    assert len(found) > 90
    assert all(document in ARTICLES for document in found)
    assert corpus.pairs["test"]
    assert plain(laid.root)["bert"]["segments"]["nsp"] == "random"


@pytest.mark.parametrize("count", [12, 20, 54])
def test_few_documents_are_held_out_in_larger_shares_or_parted_by_blank_lines(
    checkout, tmp_path, count
):
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(count):
        halves = [f"{name} {number} slept. It rained {number} times." for name in ("Ann", "Bob")]
        (folder / f"{number}.txt").write_text("\n\n".join(halves))
    said = "\n".join(new_of_documents("mine", "en", folder, 10, SPEED))
    params = validate(with_recipes(["mine"]), "corpus", CorpusParams)
    corpus = read_corpus(params, params.reader)
    corpus.check()
    assert corpus.pairs["test"]
    assert ("a blank line ends one" in said) == (
        params.reader.sources["mine"].documents == "blank_lines"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it is empty"),
        (
            {f"{n}.txt": f"A cat {n}. A dog {n}.".encode() for n in range(4)},
            "must hold some ten documents (files, or text between blank lines)",
        ),
        ({"a.txt": b"\xff\xfe\x00"}, "a.txt is no UTF-8 text"),
        ({"a.csv": b"id,n\n1,2\n"}, "a.csv: must have a column of text, but has id, n"),
        ({"a.txt": b"One.\nTwo.\n"}, "number of documents (1) must be at least 4"),
    ],
)
def test_text_of_one_language_that_cannot_be_used_leaves_nothing(
    checkout, tmp_path, files, message
):
    folder = tmp_path / "text"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(new_of_documents("mine", "en", folder, 10, SPEED))
    assert message in str(caught.value)
    assert not (checkout / "data/raw/mine").exists()
    assert not list((checkout / "recipes").iterdir())
