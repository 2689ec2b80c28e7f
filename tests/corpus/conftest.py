"""A raw folder, and corpora read from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.assembling import read_corpus
from pipelines.corpus.params import CorpusParams
from pipelines.formats.corpus.files import Corpus

SPLITS = {"documents": {"valid": 2}, "pairs": {"valid": 2, "test": 2}}


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``data/raw/mine`` in a folder of its own, where the test then stands."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/raw/mine"
    folder.mkdir(parents=True)
    return folder


def corpus_params(sources: dict[str, Any], **others: Any) -> CorpusParams:
    """Section ``corpus`` with some sources, from en to de unless said otherwise."""
    languages = {
        "source_language": others.pop("source", "en"),
        "target_language": others.pop("target", "de"),
    }
    reader = {"filters": [], "splits": SPLITS, "make": "documents", **others}
    for source in sources.values():
        source.setdefault("split", "drawn")
        source.setdefault("weight", 1.0)
    return CorpusParams.model_validate(
        {
            "raw": "data/raw/mine",
            "license": None,
            **languages,
            "reader": {**reader, "kind": "sources", "sources": sources},
        }
    )


@pytest.fixture
def read(raw: Path) -> Callable[..., Corpus]:
    """Reads sources into a corpus, with the keys of the reader that are given."""

    def reading(sources: dict[str, Any], **others: Any) -> Corpus:
        params = corpus_params(sources, **others)
        return read_corpus(params, params.reader)  # type: ignore[arg-type]

    return reading
