"""The whole pipeline on a tiny corpus, DVC over it: real offline W&B, real transformers."""

import contextlib
import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import wandb_file
from tests.bert.sample import mlm_logits
from tests.conftest import ROOT, run_in, watched
from tests.whole_pipeline import checkout, run

INSTANCES = [
    *("corpus", "tokenizer", "shards", "bert"),
    *(
        f"{stage}@{name}"
        for stage in ("seq2seq", "decoding")
        for name in ("gru", "gru_attention", "transformer", "rnd2rnd", "bert2bert")
    ),
    *("evaluation", "diagnosis@bert", "diagnosis@gru", "report"),
]
STAGES = dict.fromkeys(name.partition("@")[0] for name in INSTANCES)


def test_repro_again_runs_nothing(reproduced_copy):
    result = run_in(reproduced_copy, "dvc", "repro")
    assert "Running stage" not in result.stdout
    assert "Data and pipelines are up to date." in result.stdout


def _digests(folder: Path) -> dict[str, str]:
    paths = (
        path for stage in STAGES for path in (folder / "data" / stage).rglob("*") if path.is_file()
    )
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def test_another_run_elsewhere_gives_the_same_files(reproduced, tmp_path):
    """Without DVC, in a single process, under another hash seed; ``make verify`` compares two runs
    by DVC.
    """
    other = checkout(tmp_path / "elsewhere", ROOT / "tests/params.tiny.yaml")
    run(other, PYTHONHASHSEED="7")
    assert _digests(other) == (expected := _digests(reproduced))
    assert len(expected) > 100


def test_no_socket_of_a_whole_run_leaves_the_machine(reproduced, tmp_path):
    """Nor does one of a corpus of files, whose reader would tell a server of each use."""
    assert not (reproduced.parent / "network").exists(), (reproduced.parent / "network").read_text()
    control = "import socket; socket.getaddrinfo('example.invalid', 1)"
    run_in(tmp_path, sys.executable, "-c", control, check=False, **watched(tmp_path))
    assert "example.invalid" in (tmp_path / "network").read_text()


def test_outs_hold_no_clock_path_or_host(reproduced):
    for path in (reproduced / "data").rglob("*"):
        if path.is_file() and path.suffix in (".json", ".md", ".html", ".txt", ".jsonl"):
            text = path.read_text()
            assert str(reproduced) not in text, path
            # Vega's own files are in the page of plots, and know of seconds.
            assert path.name == "plots_page.html" or "seconds" not in text, path


def _changed(folder: Path) -> set[str]:
    return set(json.loads(run_in(folder, "dvc", "status", "--json").stdout))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  lowercase: false\n  strip", "  lowercase: true\n  strip", {"tokenizer"}),
        ("    rate: 0.25 ", "    rate: 0.2 ", {"bert", "diagnosis@bert", "diagnosis@gru"}),
        (
            "      attention: none ",
            "      attention: additive ",
            {"seq2seq@gru", "diagnosis@gru", "evaluation", "report"},
        ),
        (
            "    strength: 1.0",
            "    strength: 0.5",
            {"report", *(name for name in INSTANCES if name.startswith("decoding@"))},
        ),
        ("  num_threads: 1", "  num_threads: 2", set()),
        ("  project: maskline", "  project: other", set()),
    ],
    ids=["tokenizer", "bert", "one architecture", "decoding", "hardware", "tracking"],
)
def test_one_key_changes_exactly_its_stages(reproduced_copy, old, new, expected):
    path = reproduced_copy / "params.yaml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    assert _changed(reproduced_copy) == expected


def test_one_decoding_key_reruns_decoding_and_what_follows_only(reproduced_copy):
    path = reproduced_copy / "params.yaml"
    path.write_text(path.read_text().replace("    strength: 1.0", "    strength: 0.0"))
    printed = run_in(reproduced_copy, "dvc", "repro", "--dry").stdout
    ran = {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}
    assert ran >= {name for name in INSTANCES if name.startswith("decoding@")}
    assert ran <= {
        name for name in INSTANCES if name.startswith(("decoding@", "evaluation", "report"))
    }


def test_code_edit_of_one_family_changes_that_family_only(reproduced_copy):
    with (reproduced_copy / "pipelines/models/recurrent.py").open("a") as file:
        file.write("# edited\n")
    names = {
        f"{stage}@{name}" for stage in ("seq2seq", "decoding") for name in ("gru", "gru_attention")
    }
    # What looks at all models, decisions 0020 and 0023.
    names |= {"diagnosis@bert", "diagnosis@gru", "report"}
    assert _changed(reproduced_copy) == names
    with (reproduced_copy / "pipelines/models/bert.py").open("a") as file:
        file.write("# edited\n")
    assert _changed(reproduced_copy) == names | {"bert"}


def test_ensemble_is_searched_scored_and_reported_and_nothing_else_runs(reproduced_copy):
    recipe = (
        "ensembles: {both: {members: [gru, bert2bert]}}\nevaluation: "
        "{comparisons: [{system: both, baseline: gru}]}\n"
    )
    (reproduced_copy / "recipe.yaml").write_text(recipe)
    run_in(reproduced_copy, sys.executable, "-m", "pipelines.params", "apply", "recipe.yaml")
    printed = run_in(reproduced_copy, "dvc", "repro").stdout
    ran = {line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")}
    assert ran == {"ensemble@both", "evaluation", "report"}
    together = (reproduced_copy / "data/decoding/both/beam.txt").read_text()
    assert len(together.splitlines()) == 12
    command = [sys.executable, "-m", "pipelines.translate", "--arch", "both"]
    sources = (reproduced_copy / "data/corpus/pairs.test.en.txt").read_text()
    assert run_in(reproduced_copy, *command, typed=sources).stdout == together
    pictures = run_in(reproduced_copy, *command, "--tree", "--attention", typed="The cow.\n").stdout
    assert "◆ 1" in pictures
    assert pictures.endswith("both has no attention to show\n")
    scored = json.loads((reproduced_copy / "data/evaluation/metrics.json").read_text())[
        "evaluation"
    ]
    assert scored["architectures"]["both"]["beam"]["bleu"] >= 0
    assert scored["comparisons"][0]["system"] == "both"
    sizes = {
        name: json.loads((reproduced_copy / "data/decoding" / name / "metrics.json").read_text())[
            "decoding"
        ]["parameters"]
        for name in ("gru", "bert2bert", "both")
    }
    assert sizes["both"] == sizes["gru"] + sizes["bert2bert"]
    table = run_in(reproduced_copy, sys.executable, "-m", "pipelines.report.table").stdout
    row = next(line for line in table.splitlines() if line.startswith("both"))
    tables = (reproduced_copy / "data/report/tables.md").read_text()
    assert f"{sizes['both']:,}" in next(line for line in tables.splitlines() if "| both" in line)
    assert "–" not in row  # its speed is known


def test_sentence_above_the_limit_can_be_refused(reproduced_copy):
    (reproduced_copy / "recipe.yaml").write_text(
        "shards: {max_sentence_tokens: 8, too_long: refuse}\n"
    )
    run_in(reproduced_copy, sys.executable, "-m", "pipelines.params", "apply", "recipe.yaml")
    refused = run_in(reproduced_copy, "dvc", "repro", "shards", check=False)
    assert refused.returncode != 0
    assert re.search(
        r"data/corpus/documents\.train\.en\.txt:\d+: tokens of '.+' \(\d+\) must not exceed",
        refused.stderr,
    )
    assert "set shards.too_long: cut" in refused.stderr
    place = re.search(r"train\.en\.txt:(\d+): tokens of '(.+?)' ", refused.stderr)
    lines = (reproduced_copy / "data/corpus/documents.train.en.txt").read_text().splitlines()
    assert lines[int(place[1]) - 1].startswith(place[2])
    (reproduced_copy / "recipe.yaml").write_text("shards: {too_long: cut}\n")
    run_in(reproduced_copy, sys.executable, "-m", "pipelines.params", "apply", "recipe.yaml")
    run_in(reproduced_copy, "dvc", "repro", "shards")
    index = json.loads((reproduced_copy / "data/shards/index.json").read_text())
    train = index["pairs"]["train"]["source"]
    assert train["longest"] == 8
    assert 0 < train["cut"] <= train["sentences"]


def test_exp_run_with_an_override_runs_and_is_listed(reproduced_copy):
    run_in(reproduced_copy, "git", "add", "-A")
    run_in(reproduced_copy, "git", "commit", "-qm", "lock")
    run_in(
        reproduced_copy, "dvc", "exp", "run", "-n", "short", "-S", "evaluation.num_resamples=200"
    )
    table = run_in(reproduced_copy, "dvc", "exp", "show", "--csv").stdout
    assert "short" in table
    assert "evaluation.num_resamples" in table
    assert "num_resamples: 200" in (reproduced_copy / "params.yaml").read_text()


def test_key_typo_under_plain_repro_loses_nothing(reproduced_copy):
    """DVC deletes outs before a stage can look at its params; its cache gives them back without
    computing.
    """
    path = reproduced_copy / "params.yaml"
    good = path.read_text()
    path.write_text(good.replace("    rate: 0.25 ", "    rte: 0.25 "))
    failed = run_in(reproduced_copy, "dvc", "repro", check=False)
    assert failed.returncode != 0
    assert "bert.masking.rte" in failed.stderr
    assert "did you mean 'rate'" in failed.stderr
    path.write_text(good)
    again = run_in(reproduced_copy, "dvc", "repro").stdout
    assert "Running stage" not in again.replace("Running stage 'bert' with command:", "")
    assert (reproduced_copy / "data/bert/model.safetensors").exists()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda folder: (folder / "data/raw/embedded/verbs.tsv").unlink(),
            "verbs.tsv: cannot be read",
        ),
        (
            lambda folder: _replace(folder / "params.yaml", "seed: 1", "sede: 1"),
            "section ('sede') must be one of seed",
        ),
        (
            lambda folder: _replace(
                folder / "params.yaml", "min_frequency: 2", "min_frequency: two"
            ),
            "min_frequency ('two')",
        ),
    ],
)
def test_preflight_says_it_before_anything_is_deleted(reproduced_copy, break_it, message):
    break_it(reproduced_copy)
    before = sorted(path for path in (reproduced_copy / "data").rglob("*"))
    result = run_in(reproduced_copy, sys.executable, "-m", "pipelines.preflight", check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert sorted(path for path in (reproduced_copy / "data").rglob("*")) == before


def _replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


def test_bert_loads_in_transformers_and_gives_our_logits(reproduced):
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertForPreTraining

    from pipelines.formats.bert.names import hugging_face_name
    from pipelines.frame.params_reader import read_params, validate
    from pipelines.models.bert import Bert
    from pipelines.nn.transformer.params import BertModelParams

    folder = reproduced / "data/bert"
    theirs = BertForPreTraining.from_pretrained(folder).eval()
    weights = load_file(folder / "model.safetensors")
    ours = Bert(
        validate(read_params(reproduced / "params.yaml"), "bert.model", BertModelParams),
        theirs.config.vocab_size,
    )
    ours.load_state_dict({name: weights[hugging_face_name(name)] for name in ours.state_dict()})
    batch = AutoTokenizer.from_pretrained(folder)(
        ["The cook is proud."], ["Der Koch ist stolz."], return_tensors="pt"
    )
    with torch.no_grad():
        expected = theirs(**batch)
        hidden = ours.eval()(batch.input_ids, batch.token_type_ids, None)
        pooled = ours.pooled(hidden, torch.tensor([0]))
    torch.testing.assert_close(
        mlm_logits(ours, hidden), expected.prediction_logits, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        ours.nsp_logits(pooled), expected.seq_relationship_logits, atol=1e-5, rtol=0
    )


def _keys(value: object) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [*value, *(key for inner in value.values() for key in _keys(inner))]


def test_every_computing_stage_is_an_offline_wandb_run(reproduced):
    runs = [
        wandb_file.read(path) for path in (reproduced / ".runs/wandb").glob("offline-run-*/*.wandb")
    ]
    names = {found["run"].display_name.split()[0]: found for found in runs}
    assert set(names) == set(INSTANCES)
    assert len({found["run"].run_group for found in runs}) == 1
    assert {found["run"].project for found in runs} == {"maskline"}
    bert = names["bert"]
    assert bert["run"].job_type == "bert"
    assert bert["config"]["params"]["bert"]["phases"][0]["updates"] == 12
    assert "pipelines/models/bert" in bert["config"]["code"]
    assert "." not in "".join(_keys(bert["config"]))
    assert list(bert["run"].tags) == ["bert"]
    assert bert["run"].notes == "python -m pipelines.bert.pretrain"
    assert bert["config"]["inputs"]
    curves = json.loads((reproduced / "data/bert/curves.json").read_text())
    logged = {
        (point["step"], name): point[name]
        for point in bert["history"]
        for name in point
        if name != "step"
    }
    for point in curves:
        for name, value in point.items():
            if name != "step":
                assert logged[point["step"], name] == pytest.approx(value)
    assert bert["summary"]["state"] == "finished"
    tables = [point for point in names["seq2seq@gru"]["history"] if "samples.nrows" in point]
    samples = json.loads((reproduced / "data/seq2seq/gru/samples.json").read_text())
    assert [point["step"] for point in samples] == [3, 6]
    assert [(table["step"], table["samples.nrows"]) for table in tables] == [(3, 5), (6, 5)]
    assert list(samples[0]["samples"][0]) == ["source", "reference", "hypothesis"]


def test_results_table_lists_baselines_architectures_and_speeds(reproduced):
    printed = run_in(reproduced, sys.executable, "-m", "pipelines.report.table").stdout
    assert "unigram" in printed
    assert "majority" in printed
    for name in ("gru", "gru_attention", "transformer", "rnd2rnd", "bert2bert"):
        row = next(line for line in printed.splitlines() if line.startswith(f"{name} "))
        assert "–" not in row
    assert "report.html" in printed


@pytest.mark.parametrize(("told", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_the_results_table_has_colours_on_a_terminal_alone(reproduced, told, coloured):
    command = [sys.executable, "-m", "pipelines.report.table"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **told}
    environment.pop("NO_COLOR", None) if coloured else None
    with subprocess.Popen(command, cwd=reproduced, stdout=theirs, env=environment) as process:
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                printed += part
    assert process.returncode == 0
    assert (b"\x1b[1;32m" in printed) == coloured
    assert "\x1b" not in run_in(reproduced, *command).stdout


def test_results_table_without_run_folders_shows_dashes(reproduced_copy):
    shutil.rmtree(reproduced_copy / ".runs")
    printed = run_in(reproduced_copy, sys.executable, "-m", "pipelines.report.table").stdout
    row = next(line for line in printed.splitlines() if line.startswith("gru "))
    assert row.split()[-1] == "–"


def test_hypotheses_are_one_per_test_sentence_and_n_best_is_ranked(reproduced):
    references = (reproduced / "data/corpus/pairs.test.de.txt").read_text().splitlines()
    for folder in (reproduced / "data/decoding").iterdir():
        lines = (folder / "beam.txt").read_text().split("\n")[:-1]
        assert len(lines) == len(references) == 12
        for line, text in zip(
            (folder / "beam.nbest.jsonl").read_text().splitlines(), lines, strict=True
        ):
            hypotheses = json.loads(line)["hypotheses"]
            assert hypotheses[0]["text"] == text
            scores = [hypothesis["score"] for hypothesis in hypotheses]
            assert scores == sorted(scores, reverse=True)
            for hypothesis in hypotheses:
                normalised = hypothesis["log_probability"] / len(hypothesis["tokens"])
                assert hypothesis["score"] == pytest.approx(normalised)


def test_checkpoints_are_gone_once_their_out_was_read(reproduced):
    assert list(reproduced.glob(".runs/bert/*/committed.json"))
    assert not list(reproduced.glob(".runs/*/*/checkpoints"))
