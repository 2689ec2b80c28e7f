"""Other scripts through the whole pipeline: a few dozen lines of Chinese and Hindi, learnt by
heart.
"""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.translate.__main__ import main as translate
from tests.conftest import ROOT, run_in
from tests.whole_pipeline import checkout, run

pytestmark = pytest.mark.recipes

_CORPORA = ROOT / "tests/corpora"
_UNCASED = {"tokenizer": {"lowercase": True}, "evaluation": {"lowercase": True}}


def _project(folder: Path, corpus: str, source: str, target: str, changed: dict[str, Any]) -> Path:
    shutil.copytree(_CORPORA / corpus, folder / "data/raw/toy")
    documents, pairs = (
        {side: f"{kind}.{side}" for side in (source, target)} for kind in ("documents", "pairs")
    )
    splits = {"train": pairs, "valid": pairs, "test": pairs}
    reader = {"documents": {"train": documents, "valid": documents}, "pairs": splits}
    section = {
        "raw": "data/raw/toy",
        "source_language": source,
        "target_language": target,
        "reader": reader,
    }
    (folder / "own.yaml").write_text(json.dumps({"corpus": section, **changed}))
    return checkout(folder, _CORPORA / "toy.yaml", folder / "own.yaml")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """English to Chinese, and Hindi to uncased English, in one process; and what it printed."""
    chinese, hindi = (tmp_path_factory.mktemp(name) / "project" for name in ("chinese", "hindi"))
    _project(chinese, "zh-en", "en", "zh", {})
    _project(hindi, "hi-en", "hi", "en", _UNCASED)
    return chinese, hindi, run(chinese, hindi)


def _checked(folder: Path, target: str, tokenizer: str, *flags: str) -> list[str]:
    """The translations, whose scores are right: those of sacrebleu's own command line on the raw
    references.
    """
    references = folder / f"data/raw/toy/pairs.{target}"
    evaluation = json.loads((folder / "data/evaluation/metrics.json").read_text())
    found = evaluation["evaluation"]
    scored = found["architectures"]["gru_attention"]["beam"]
    command = [
        sys.executable,
        "-m",
        "sacrebleu",
        str(references),
        "-i",
        "data/decoding/gru_attention/beam.txt",
    ]
    command += ["-m", "bleu", "-tok", tokenizer, "-w", "4", "-f", "json"]
    # by heart
    assert scored["bleu"] == json.loads(run_in(folder, *command, *flags).stdout)["score"] > 90
    assert f"tok:{tokenizer}" in scored["bleu_signature"]
    assert found["ceiling"]["bleu"] == found["ceiling"]["chrf"] == 100
    assert found["leading"] == "bleu"
    assert scored["rougeL"] > 90
    # What is learnt by heart is tested on itself, which is said.
    warned = json.loads((folder / "data/corpus/metrics.json").read_text()).get("warnings", [])
    assert all("must not have validation or test text" in warning for warning in warned)
    for stage in ("tokenizer", "shards", "decoding/gru_attention", "evaluation"):
        assert "warnings" not in json.loads((folder / f"data/{stage}/metrics.json").read_text())
    tokenized = json.loads((folder / "data/tokenizer/metrics.json").read_text())["tokenizer"]
    assert tokenized["unknown_words"] == 0
    return (folder / "data/decoding/gru_attention/beam.txt").read_text().splitlines()


def test_chinese_is_learnt_scored_and_written_without_spaces(learnt):
    lines = _checked(learnt[0], "zh", "zh")
    assert not any(" " in line for line in lines)
    tokenized = json.loads((learnt[0] / "data/tokenizer/metrics.json").read_text())["tokenizer"]
    assert tokenized["round_trip_share"] == 1


def test_special_tokens_and_odd_spaces_are_text_in_every_part_of_a_translation(
    learnt, monkeypatch, capsys
):
    """Standard input × constraints × what is written: no id below 5, and the letters come back."""
    monkeypatch.chdir(learnt[1])
    lines = "पर्वतारोही आया।\n[SEP] [PAD] [MASK] आया।\n"
    for arguments, wanted in (
        ([], "the rock - climber [sep] came."),
        (["--with", "rock - climber [SEP]"], "rock - climber [sep]"),
        (["--begin", "The rock - climber [SEP]"], "the rock - climber [sep]"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        assert translate(["--arch", "gru_attention", "--json", *arguments]) == 0
        found = [json.loads(line)["hypotheses"][0] for line in capsys.readouterr().out.splitlines()]
        assert wanted in found[0]["text"]
        assert not arguments or all(wanted in one["text"] for one in found)
        assert not any(set(one["tokens"][:-1]) & set(range(5)) for one in found)


def test_hindi_is_read_and_uncased_english_scored_as_such(learnt):
    lines = _checked(learnt[1], "en", "13a", "-lc")
    assert all(line == line.lower() for line in lines)
    lost = json.loads((learnt[1] / "data/evaluation/metrics.json").read_text())["evaluation"][
        "ceiling"
    ]["lost"]
    assert lost["case"]["bleu"] > 0 == lost["spacing"]["bleu"] == lost["unknown"]["bleu"]
    assert "(a perfect model)" not in learnt[2]
