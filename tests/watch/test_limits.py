"""What limits a training: causes planted one by one in a real training on a CPU, and those of a GPU
in its measurements.
"""

import dataclasses
import re
import sys
import time

import pytest
import torch

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.stage import Stage, trial_run
from pipelines.models.bert import Bert
from pipelines.speed.causes import Measured, causes, told
from pipelines.speed.measure import measure
from tests.bert.sample import bert_params, two_languages
from tests.conftest import ROOT, run_in


class _Slow:
    """Batches that take a while."""

    def __init__(self, source):
        self.after, self._source = source.after, source
        self.fingerprint = source.fingerprint

    def __call__(self, position):
        time.sleep(0.2)
        return self._source(position)


def _measured(tmp_path, *, slow=False, micro=0, **phases):
    params_file = read_params(ROOT / "params.yaml")
    hardware = validate(params_file, "hardware", Hardware)
    hardware = hardware.model_copy(update={"accelerator": "cpu", "num_threads": 1})
    run = trial_run(Stage("bert", "x", {}, ()), params_file, hardware, tmp_path)
    params = bert_params(phases={"batch_size": 8, **phases})
    torch.manual_seed(0)
    source = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
    bert = Bert(params.model, 300)
    module = BertPretraining(
        bert, params, [], Baselines(0.0, 5.0, 5.0, 0.5), micro_batch_size=micro
    )
    return measure(module, _Slow(source) if slow else source, run, updates=4)


def test_a_loader_that_is_waited_for(tmp_path):
    found = _measured(tmp_path, slow=True)
    assert causes(found)[0].name == "loader"
    assert "raise hardware.num_workers" in told("bert", found)
    assert 0.15 < found.waited < 2  # however busy the machine is


def test_micro_batches_of_one_row(tmp_path):
    found = _measured(tmp_path, micro=1)
    assert found.micro_batch_size == 1
    assert found.larger > 0  # it was tried; how fast it was is the machine's affair
    found = dataclasses.replace(found, alone=2.0, larger=1.0)
    assert "small micro-batches" in [cause.name for cause in causes(found)]
    assert "hardware.micro_batch_size (1)" in told("bert", found)


def test_padding_is_told_as_it_is(tmp_path):
    found = _measured(tmp_path)
    padding = 1 - found.tokens / found.slots
    assert f"{padding:.0%} of the computed slots hold no token" in told("bert", found)
    assert "updates/s" in told("bert", found)
    assert "FLOP/s, the speed of a large matrix product" in told("bert", found)


FINE = Measured(
    seconds=0.1, waited=0.0, alone=0.1, queued=0.02, larger=None, exchanged=None, tokens=1000,
    slots=1300, computed=1000, flops=95e9, could=1e12, device="cuda", compiled=True,
    micro_batch_size=0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("planted", "name", "remedy"),
    [
        ({"queued": 0.099, "compiled": False}, "host", "hardware.compile: true"),
        ({"queued": 0.099}, "host", "larger batches"),
        ({"flops": 40e9, "compiled": False}, "no compiling", "hardware.compile: true"),
        ({"flops": 40e9}, "memory traffic", "wider network"),
        ({"exchanged": 0.1, "alone": 0.07}, "communication", "faster network"),
        ({"computed": 1300}, "padding", "packed: true"),
        ({"waited": 0.03, "alone": 0.07}, "loader", "num_workers"),
        ({"larger": 0.06, "micro_batch_size": 4}, "small micro-batches", "(4)"),
    ],
)
def test_causes_of_a_gpu(planted, name, remedy):
    found = causes(dataclasses.replace(FINE, **planted))
    assert found[0].name == name
    assert remedy in found[0].remedy


def test_nothing_limits_what_computes_as_fast_as_a_product():
    assert causes(FINE) == []
    text = told("bert", FINE)
    assert "nothing stands out" in text
    assert "95% of 1 TFLOP/s" in text
    assert max(map(len, text.splitlines())) <= 80


def test_longest_lines_fit_a_terminal():
    worst = dataclasses.replace(
        FINE, queued=0.099, waited=0.02, larger=0.05, micro_batch_size=16, computed=1300,
        exchanged=0.15, compiled=False,
    )  # fmt: skip
    assert max(map(len, told("seq2seq@transformer", worst).splitlines())) <= 80


def _files(folder):
    """All files that a run leaves, with their contents; what is compiled is kept, and no result."""
    paths = [path for part in ("data", ".runs") for path in (folder / part).rglob("*")]
    return {
        path: path.read_bytes() for path in paths if path.is_file() and "compiled" not in path.parts
    }


def test_the_command_says_it_of_the_configured_training(reproduced_copy):
    """And leaves nothing behind."""
    before = _files(reproduced_copy)
    command = (sys.executable, "-m", "pipelines.speed")
    done = run_in(reproduced_copy, *command, "seq2seq", "gru", "--updates", "3")
    first, *others = done.stdout.splitlines()
    assert re.match(r"seq2seq@gru: [\d.]+ updates/s, [\d,]+ tokens/s, [\d.]+ ms an update", first)
    assert others
    for given, message in (
        (["seq2seq"], "must be one of gru"),
        (["seq2seq", "x"], "must be one of gru"),
        (["bert", "gru"], "must be left out"),
    ):
        refused = run_in(reproduced_copy, *command, *given, check=False)
        assert refused.returncode == 2
        assert message in refused.stderr
    assert _files(reproduced_copy) == before


def test_nobody_follows_a_trial(tmp_path, monkeypatch):
    """Whatever the variable says that goes before the params."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    params_file = read_params(ROOT / "params.yaml")
    hardware = validate(params_file, "hardware", Hardware)
    run = trial_run(Stage("bert", "x", {}, ()), params_file, hardware, tmp_path)
    run.log(1, {"loss": 1.0})
    run.tracker.finish({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "work"]
