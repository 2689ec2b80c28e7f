"""Runs side by side: what differs, what is tested, what is refused."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from pipelines.evaluation.metrics import compare as bootstrap
from pipelines.frame.errors import DataError, ParamsError
from pipelines.report import compare
from pipelines.report.runs import Run, open_run, open_runs
from tests.conftest import run_in
from tests.report.test_page import assert_sound


@pytest.fixture
def other(reproduced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another checkout's results, with a parameter, a score and translations of its own."""
    monkeypatch.chdir(reproduced)
    folder = tmp_path / "other"
    for name in ("params.yaml", "dvc.lock"):
        folder.mkdir(exist_ok=True)
        shutil.copy(reproduced / name, folder / name)
    shutil.copytree(reproduced / "data", folder / "data", ignore=shutil.ignore_patterns("raw"))
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("num_samples: 5", "num_samples: 7"))
    lines = (folder / "data/corpus/pairs.test.de.txt").read_text().splitlines()
    translations = folder / "data/decoding/gru/beam.txt"
    made = translations.read_text().splitlines()
    translations.write_text("\n".join([*lines[:6], *made[6:]]) + "\n")
    return folder


def _measured(folder: Path) -> tuple[Path, dict]:
    path = folder / "data/evaluation/metrics.json"
    return path, json.loads(path.read_text())


def test_params_scores_and_translations_that_differ(other, capsys):
    assert compare.main([".", str(other), "--csv", str(other / "all.csv")]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:-2])) <= 80
    assert "report.num_samples" in printed
    rows = list(csv.reader(io.StringIO((other / "all.csv").read_text())))
    assert rows[0] == ["kind", "name", "here", "other"]
    assert ["params", "report.num_samples", "5", "7"] in rows
    assert not [row for row in rows if row[0] == "code and raw data"]
    page = Path("compare.html").read_text()
    assert_sound(page)
    assert "Validation loss of gru by update" in page
    Path("compare.html").unlink()


def test_pairs_are_tested_by_the_bootstrap_of_the_evaluation(other):
    runs = [open_run("."), open_run(str(other))]
    found = {one.system: one for one in compare.pairings(runs)}
    _, references = runs[0].test_set()
    expected = bootstrap(
        runs[1].translations("gru"),
        runs[0].translations("gru"),
        references,
        runs[0].sections["evaluation"]["num_resamples"],
    )
    assert found["gru"].found == expected
    assert expected["chrf"]["difference"] > 0
    assert found["bert2bert"].found["bleu"] == {"difference": 0.0, "p_value": 1.0}
    changed = compare.changed(runs)
    assert all(one["gain"] != 0 for one in changed)


def test_the_translations_that_changed_most_are_of_the_system_that_leads(other, monkeypatch):
    runs = [open_run("."), open_run(str(other))]
    monkeypatch.setattr(
        Run, "beam", lambda run, system: {"bleu": 9.0 * (system == "gru"), "chrf": 0.0}
    )
    changed = compare.changed(runs)
    assert {one["system"] for one in changed} == {"gru"}
    assert 0 < len(changed) <= 5  # nothing got worse
    assert all(one["after"] == one["reference"] for one in changed)


def test_runs_with_another_test_set_or_metric_are_shown_and_not_paired(other, capsys):
    path, measured = _measured(other)
    for one in measured["evaluation"]["architectures"].values():
        signature = one["beam"]["bleu_signature"]
        one["beam"]["bleu_signature"] = signature.replace("tok:13a", "tok:intl")
    path.write_text(json.dumps(measured))
    assert compare.main([".", str(other)]) == 0
    assert "are not paired: another metric (" in " ".join(capsys.readouterr().out.split())
    sources = other / "data/corpus/pairs.test.en.txt"
    sources.write_text(sources.read_text() + "One more.\n")
    assert compare.main([".", str(other)]) == 0
    printed = capsys.readouterr().out
    assert "are not paired: another test set (" in printed
    assert "BLEU gru" in printed
    assert "None, or the test sets differ" in Path("compare.html").read_text()
    Path("compare.html").unlink()


def test_a_system_that_one_run_lacks_is_a_dash_and_not_paired(other):
    path, measured = _measured(other)
    del measured["evaluation"]["architectures"]["gru"]
    path.write_text(json.dumps(measured))
    runs = [open_run("."), open_run(str(other)), open_run(".")]
    rows = {row[0]: row[1:] for row in compare.scores(runs)}
    assert rows["BLEU gru"][1] == "–"
    assert rows["BLEU gru"][0] == rows["BLEU gru"][2]
    assert ("gru", "other") not in [(one.system, one.run) for one in compare.pairings(runs)]


def test_a_commit_is_read_from_the_cache_and_costs_from_where_it_ran(reproduced_copy, monkeypatch):
    monkeypatch.chdir(reproduced_copy)
    run_in(reproduced_copy, "git", "init", "--quiet")
    run_in(reproduced_copy, "git", "add", "--all")
    run_in(reproduced_copy, "git", "commit", "--quiet", "--message", "all")
    for name in ("sweep/rates/rates-0", "sweep/rates/rates-1", "sweep/rates-2/other"):
        run_in(reproduced_copy, "git", "branch", name)
    assert [run.name for run in open_runs("sweep/rates")] == ["rates-0", "rates-1"]
    assert open_runs("sweep/rates")[1].measured == open_run(".").measured
    shutil.rmtree("data/decoding/gru")
    runs = [open_run("HEAD"), open_run("HEAD")]
    assert len(runs[0].translations("gru")) == len(runs[0].test_set()[0])
    assert [row[0] for row in compare.costs(runs)[1:3]] == ["bert", "seq2seq@gru"]
    with pytest.raises(DataError, match=r"data/decoding/gru/beam\.txt must be there"):
        open_run(".").translations("gru")
    shutil.rmtree(".dvc/cache")
    with pytest.raises(DataError, match=r"must be in DVC's cache .*dvc fetch --rev"):
        open_run("HEAD").translations("gru")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["."], r"runs \(1\) must be two or more"),
        ([".", "nothing"], r"run \('nothing'\) must name a checkout, an experiment or a commit"),
    ],
)
def test_what_is_no_run_is_told(reproduced, monkeypatch, given, told):
    monkeypatch.chdir(reproduced)
    with pytest.raises(ParamsError, match=told):
        compare.main(given)
