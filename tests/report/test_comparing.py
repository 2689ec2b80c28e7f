"""Scores and curves as DVC compares and draws them."""

import json
import re
import sys
from pathlib import Path

import pytest

from pipelines.frame.params_reader import plain, read_params
from pipelines.report.scores import score_names
from tests.conftest import run_in


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def committed(reproduced_copy: Path) -> Path:
    run_in(reproduced_copy, "git", "init", "--quiet")
    run_in(reproduced_copy, "git", "add", "--all")
    run_in(reproduced_copy, "git", "commit", "--quiet", "--message", "all")
    return reproduced_copy


def _flat(scores: dict, path: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in scores.items():
        inner = f"{path}.{key}".lstrip(".")
        found |= _flat(value, inner) if isinstance(value, dict) else {inner: value}
    return found


def test_scores_are_those_that_params_lead_to_and_of_the_table(reproduced_copy):
    params = plain(read_params(reproduced_copy / "params.yaml").root)
    scores = _flat(json.loads((reproduced_copy / "data/report/scores.json").read_text()))
    architectures = list(params["seq2seq"]["architectures"])
    assert list(scores) == score_names(architectures, [], params["bert"]["segments"]["nsp"])
    measured = json.loads((reproduced_copy / "data/evaluation/metrics.json").read_text())
    for name in architectures:
        beam = measured["evaluation"]["architectures"][name]["beam"]
        assert scores[f"bleu.{name}"] == round(beam["bleu"], 2)
        assert scores[f"chrf.{name}"] == round(beam["chrf"], 2)
    assert all(0 <= value <= 100 for value in scores.values())


def test_metrics_diff_has_what_changed_and_nothing_else(committed):
    path = committed / "data/report/scores.json"
    scores = json.loads(path.read_text())
    scores["bleu"]["gru"] = 99.0
    path.write_text(json.dumps(scores))
    _, *rows = run_in(committed, "dvc", "metrics", "diff").stdout.splitlines()
    assert [row.split()[:2] for row in rows] == [["data/report/scores.json", "bleu.gru"]]


def test_every_curve_is_drawn_in_a_page_that_needs_no_network(committed):
    run_in(committed, "dvc", "plots", "show")
    run_in(committed, "dvc", "plots", "diff", "HEAD")
    page = (committed / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    drawn = set(re.findall(r'<div id = "(data_report_curves_[^"]+)"', page))
    files = sorted((committed / "data/report/curves").glob("*/*.json"))
    assert len(drawn) == len(files)
    quantities = {path.parent.name for path in files}
    assert {"loss", "valid_loss", "gradient_norm", "learning_rate", "valid_bleu"} <= quantities
    assert {"mlm_loss", "valid_mlm_loss", "nsp_loss"} <= quantities
    assert {path.stem for path in files if path.parent.name == "valid_loss"} == {
        "gru", "gru_attention", "transformer", "rnd2rnd", "bert2bert",
    }  # fmt: skip
    for path in files:
        rows = json.loads(path.read_text())
        assert rows
        assert all(set(row) == {"step", path.parent.name} for row in rows)
    assert run_in(committed, "git", "status", "--porcelain").stdout == ""


B = """
seq2seq: {architectures: {gru: null, transformer: null, gru_attention: null}}
diagnosis: {models: {gru: null}}
ensembles: {both: {members: [rnd2rnd, bert2bert]}}
"""


@pytest.mark.recipes
def test_what_another_recipe_left_enters_no_digest(reproduced_copy, tmp_path):
    """A, then B, then A by plain `dvc repro`, against B in a clone with nothing under data."""
    import shutil

    from pipelines.params.recipes import apply_recipes

    def lock(folder: Path, stages: list[str]) -> dict:
        entries = plain(read_params(folder / "dvc.lock").root)["stages"]
        return {name: entries[name] for name in stages}

    clone = tmp_path / "clone"
    shutil.copytree(reproduced_copy, clone, symlinks=True)
    for path in (clone / "data").iterdir():
        if path.name != "raw" and path.is_dir():
            shutil.rmtree(path)
    in_a = list(plain(read_params(reproduced_copy / "dvc.lock").root)["stages"])
    of_a = lock(reproduced_copy, in_a)
    in_b = [name for name in in_a if "gru" not in name and "transformer" not in name]
    in_b.append("ensemble@both")
    before = (reproduced_copy / "params.yaml").read_text()
    for folder in (reproduced_copy, clone):
        (folder / "b.yaml").write_text(B)
        apply_recipes([folder / "b.yaml"], folder / "params.yaml")
        run_in(folder, "dvc", "repro")
    assert lock(reproduced_copy, in_b) == lock(clone, in_b)
    assert sorted(path.name for path in (reproduced_copy / "data/seq2seq").iterdir()) == [
        "bert2bert", "rnd2rnd",
    ]  # fmt: skip
    assert (reproduced_copy / ".runs/left_overs/data/seq2seq/gru/model.safetensors").exists()
    (reproduced_copy / "params.yaml").write_text(before)
    run_in(reproduced_copy, "dvc", "repro")
    assert lock(reproduced_copy, in_a) == of_a
    assert not (reproduced_copy / "data/decoding/both").exists()
    assert "up to date" in run_in(reproduced_copy, "dvc", "repro").stdout


@pytest.mark.recipes
def test_two_experiments_are_compared_in_eighty_columns(committed):
    compare = [sys.executable, "-m", "flows.compare"]
    run_in(committed, "dvc", "exp", "save", "--name", "first")
    override = ["-S", "decoding.beam_size=2", "-S", "seq2seq.architectures.gru.dropout=0.5"]
    run_in(committed, "dvc", "exp", "run", "--name", "narrow", *override)
    printed = run_in(committed, *compare).stdout
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    assert {"first", "narrow"} <= set(lines[0].split())
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert set(rows["decoding.beam_size"]) == {"2", "3"}
    assert "seq2seq.architectures.gru.dropout" in rows
    assert any(name.startswith(("bleu.", "chrf.")) for name in rows)
    assert not any("/" in name for name in rows)
    closely = run_in(
        committed, sys.executable, "-m", "pipelines.report.compare", "first", "narrow"
    ).stdout
    assert "seq2seq.architectures.gru.dropout" in closely
    assert "gru: narrow − first = " in closely
    run_in(committed, "git", "checkout", "params.yaml", "dvc.lock")
    assert run_in(committed, "dvc", "repro").returncode == 0
    assert run_in(committed, "git", "status", "--porcelain").stdout == ""
