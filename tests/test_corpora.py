"""The data stages on real text: ``make test-corpora CORPORA=folder`` with ``multi30k/`` in it."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, copy_project, run_in

pytestmark = pytest.mark.corpora


@pytest.fixture(scope="module")
def multi30k(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the recipe applied and its data stages run."""
    corpora = Path(request.config.getoption("--corpora") or ".", "multi30k")
    assert corpora.is_dir(), "make test-corpora CORPORA=folder: the folder that holds multi30k/"
    folder = copy_project(tmp_path_factory.mktemp("corpora") / "project")
    shutil.copytree(corpora, folder / "data/raw/multi30k")
    shutil.copy(ROOT / "params.yaml", folder)
    run_in(
        folder,
        sys.executable,
        "-m",
        "pipelines.params",
        "apply",
        "recipes/multi30k.yaml",
    )
    run_in(folder, "dvc", "repro", "shards")
    return folder


def test_corpus_has_the_published_sizes(multi30k):
    corpus = json.loads((multi30k / "data/corpus/metrics.json").read_text())["corpus"]
    assert corpus["pairs"] == {"train": 29000, "valid": 1014, "test": 1000}
    for language in ("en", "de"):
        assert corpus["documents"][f"train.{language}"]["documents"] == 29000
        assert corpus["documents"][f"train.{language}"]["sentences"] == 145000
        assert corpus["test_sentences_seen"][language] <= 3


def test_tokenizer_gives_text_back(multi30k):
    tokenizer = json.loads((multi30k / "data/tokenizer/metrics.json").read_text())["tokenizer"]
    assert tokenizer["round_trip_share"] > 0.99
    assert tokenizer["unknown_share"] < 1e-4
