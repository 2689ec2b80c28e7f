"""Fetching a dataset, from folders that the test writes; trying a filter; a full disk."""

import errno
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.fetch import fetch
from pipelines.frame.errors import DataError, ParamsError
from tests.conftest import ROOT

ROWS = [{"en": f"A cat {n}.", "de": f"Eine Katze {n}."} for n in range(50)]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub").mkdir()
    table = pa.table({"id": list(range(50)), "translation": ROWS, "note": [None] * 50})
    pq.write_table(table, tmp_path / "hub/train-00000-of-00001.parquet")
    return tmp_path / "hub"


def _fetch(dataset: Path, to: str = "data/raw/cats", **given: object) -> dict:
    columns = ["translation.en", "translation.de"]
    values = {"config": None, "split": "train", "columns": columns, "revision": None, "rows": None}
    return fetch(str(dataset), Path(to), **{**values, **given})


def test_a_dataset_comes_with_its_revision_and_hash_and_the_same_bytes_twice(dataset):
    origin, again = _fetch(dataset), _fetch(dataset, "data/raw/again")
    assert origin == again == json.loads(Path("data/raw/cats/fetched.json").read_text())
    rows = gzip.decompress(Path("data/raw/cats/rows.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(row) for row in rows] == [
        {f"translation.{language}": text for language, text in row.items()} for row in ROWS
    ]
    assert origin["rows"] == 50
    packed = [Path("data/raw", name, "rows.jsonl.gz").read_bytes() for name in ("cats", "again")]
    assert packed[0] == packed[1]
    (dataset / "README").write_text("another revision")
    assert _fetch(dataset, "data/raw/third", rows=7)["rows"] == 7
    third = json.loads(Path("data/raw/third/fetched.json").read_text())
    assert third["revision"] != origin["revision"]


def test_what_was_fetched_is_a_source(dataset, monkeypatch):
    from pipelines.corpus.assembling import read_corpus
    from tests.corpus.conftest import corpus_params

    _fetch(dataset, "data/raw/mine")
    fields = {"en": "translation.en", "de": "translation.de"}
    source = {"kind": "table", "files": ["rows.jsonl.gz"], "fields": fields, "sentences": "lines"}
    params = corpus_params({"cats": source})
    corpus = read_corpus(params, params.reader)
    assert sum(map(len, corpus.pairs.values())) == 50


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"columns": ["translaton"]}, DataError, "did you mean 'translation'"),
        ({"columns": ["id"]}, DataError, r"row 1: id \(0\) must be text, not int"),
        ({"split": "dev"}, DataError, "cannot be fetched"),
        ({"to": "elsewhere"}, ParamsError, "must be a folder below data/raw"),
        ({"to": "data/raw/../../x"}, ParamsError, "must be a folder below data/raw"),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing(dataset, given, error, message):
    with pytest.raises(error, match=message):
        _fetch(dataset, **given)
    assert not Path("data/raw").exists() or not list(Path("data/raw").iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(dataset, monkeypatch):
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipelines.corpus.fetch.sync_tree", full)
    with pytest.raises(DataError, match=r"data/raw/cats: cannot be written \(.*No space left"):
        _fetch(dataset)
    assert not list(Path("data/raw").iterdir())


def test_a_folder_that_is_there_is_not_touched(dataset):
    _fetch(dataset)
    with pytest.raises(ParamsError, match="must not be there yet"):
        _fetch(dataset)


def test_try_shows_what_would_go_and_the_line_for_params(dataset):
    _fetch(dataset, "data/raw/mine")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    reader = (
        "  reader: {kind: sources, sources: {cats: {kind: table, files: [rows.jsonl.gz], fields: "
        "{en: translation.en, de: translation.de}, sentences: lines, split: drawn, weight: 1.0}}, "
        "filters: [], splits: {documents: {valid: 2}, pairs: {valid: 2, test: 2}}, make: documents}"
    )
    before, after = text.split("  reader:\n", 1)
    rest = after[after.index("\ntokenizer:") :]
    text = before.replace("raw: data/raw/embedded", "raw: data/raw/mine") + reader + "\n" + rest
    Path("params.yaml").write_text(text, encoding="utf-8")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines.corpus.try", *words]
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    done = run("length", "max_characters=8")
    assert done.returncode == 0, done.stderr
    assert "cats: 50 of 50 pairs would go (100.0%)" in done.stdout
    assert "rows.jsonl.gz:1: A cat 0. ||| Eine Katze 0." in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "- {applies_to: all, name: length, min_characters: 1, max_characters: 8, min_words: 1, "
        "max_words: 200}"
    )
    Path("params.yaml").write_text(text.replace("translation.de", "cyrillic"), encoding="utf-8")
    rows = Path("data/raw/mine/rows.jsonl.gz")
    cyrillic = {"translation": {"en": "A cat."}, "cyrillic": "Кошка и cat."}
    rows.write_bytes(gzip.compress(json.dumps(cyrillic).encode()))
    assert "scripts: {en: [LATIN], de: [CYRILLIC, LATIN]}" in run("script").stdout
    wrong = run("lenth")
    assert wrong.returncode == 2
    assert "did you mean 'length'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr
