"""What is watched decides nothing: the same weights and curves without it."""

import contextlib
from collections import deque
from types import SimpleNamespace

import pytest
import torch

from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.run_folder import RunFolder
from pipelines.frame.stage import StageRun
from pipelines.models.bert import Bert
from pipelines.training import trainer
from pipelines.watch import speed
from pipelines.watch.training import Watch
from tests.bert.sample import bert_params, two_languages
from tests.conftest import ROOT


class Blind(Watch):
    """Reads no clock, counts nothing, prints nothing."""

    def start(self, device, dtype, *, world_size, shown):
        pass

    def add(self, cost):
        pass

    def read(self, device):
        return {}

    def pause(self):
        pass

    def show(self, update, averages, timings=None):
        pass

    def warn(self, message):
        pass

    def close(self):
        pass


def _trained(folder, watch, monkeypatch, learning="cheap"):
    monkeypatch.setattr(trainer, "Watch", watch)
    params = bert_params(training={"log_every": 2, "validate_every": 3, "select": "best"})
    torch.manual_seed(0)
    bert = Bert(params.model.model_copy(update={"dropout": 0.1}), 300)
    split = DocumentSplit(two_languages(), 1, "t", 0.15, 300)
    batches = PretrainingBatches(split, params)
    module = BertPretraining(bert, params, list(batches.all())[:2], Baselines(0.0, 5.0, 5.0, 0.5))
    hardware = validate(read_params(ROOT / "params.yaml"), "hardware", Hardware)
    hardware = hardware.model_copy(update={"watch": learning, "micro_batch_size": 3})
    stop = SimpleNamespace(
        install=lambda: None, requested=False, cooperative=contextlib.nullcontext
    )
    tracker = SimpleNamespace(log=lambda _: None, log_table=lambda *_: None)
    run = StageRun(None, {}, hardware, RunFolder(folder), stop, tracker, {}, 0.0)
    measured = trainer.train(module, batches, run)
    return measured, bert.state_dict(), run.metrics.read()


def test_a_training_is_the_same_with_nobody_watching(tmp_path, monkeypatch, capsys):
    measured, weights, curves = _trained(tmp_path / "watched", Watch, monkeypatch)
    assert "tokens/s" in capsys.readouterr().out
    assert len((tmp_path / "watched/learning.jsonl").read_text().splitlines()) == 4
    unwatched = _trained(tmp_path / "unwatched", Blind, monkeypatch, "off")
    assert not (tmp_path / "unwatched/learning.jsonl").exists()
    assert "tokens/s" not in capsys.readouterr().out
    assert (measured, curves) == (unwatched[0], unwatched[2])
    assert len(curves) > 2
    assert all(torch.equal(tensor, unwatched[1][name]) for name, tensor in weights.items())
    closely = _trained(tmp_path / "closely", Watch, monkeypatch, "full")
    assert closely[0] == measured
    assert all(torch.equal(tensor, closely[1][name]) for name, tensor in weights.items())


def test_time_left_is_of_the_speed_now_and_counts_from_where_the_run_went_on(monkeypatch, capsys):
    """Updates take a second, after the hundredth a minute: a compiling start, a slower phase."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watch = Watch(None, first=20, total=200)
    watch._points = deque([(100.0, 20)], maxlen=10)
    told = {}
    for update in range(30, 200, 10):
        now[0] += 10 if update <= 100 else 600
        watch.show(update, {"loss": 1.0, "gradient_norm/0": 2.0}, {"tokens_per_s": 1234.0})
        told[update] = capsys.readouterr().out
    assert told[30] == "update 30/200  loss 1  1234 tokens/s  0:02:50 left\n"
    assert told[100].endswith("0:01:40 left\n")
    assert told[190].endswith("0:10:00 left\n")  # 10 updates of a minute each


@pytest.mark.parametrize(
    ("name", "dtype", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12),
        ("NVIDIA H100 80GB HBM3", torch.float32, 67e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, 756e12),
        ("NVIDIA H200", torch.bfloat16, 989e12),
        ("NVIDIA A100-SXM4-80GB", torch.bfloat16, 312e12),
        ("NVIDIA L4", torch.bfloat16, 121e12),
        ("NVIDIA L40S", torch.bfloat16, 362e12),
    ],
)
def test_mfu_of_a_known_device_is_of_its_data_sheet(monkeypatch, name, dtype, flops):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    found = speed.peak(torch.device("cuda"), dtype)
    assert (found.flops, found.source) == (flops, f"data sheet, {name}")


def test_mfu_of_another_device_is_of_the_largest_product_it_has_time_for(monkeypatch):
    """Of pretended speeds: a slow device tries no larger product than it has time for."""
    assert speed.peak(torch.device("cpu"), torch.float32).source.startswith("measured, a product")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 NVL")
    for fast, side in ((700e12, 8192), (1e12, 4096), (1e11, 1536), (1e9, 256)):
        # The larger the product, the nearer to what the device can do.
        monkeypatch.setattr(speed, "_rate", lambda *given, fast=fast: fast * (1 - 1 / given[2]))
        found = speed.peak(torch.device("cuda"), torch.bfloat16)
        assert found.source == f"measured, a product of {side} x {side}"
