"""Rows that do not fit, on a pretended device: the key to lower, and what would fit."""

from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as lightning
import pytest
import torch
from torch.utils.data import DataLoader

from pipelines.decoding import batches
from pipelines.decoding.options import SearchOptions
from pipelines.frame.errors import OutOfMemory
from pipelines.frame.records import Records
from pipelines.seq2seq.data import PairBatches
from pipelines.training.positions import Batches
from tests.training.ranked import START, few_pairs, seq2seq_module

FULL = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB"


@pytest.mark.parametrize(
    ("room", "micro_batch_size", "tried", "remedy"),
    [
        (3, 0, 8, "set it to 2, which do fit"),
        (4, 6, 6, "set it to 3, which do fit"),
        (1, 2, 2, "set it to 1, which do fit"),
        (0, 0, 8, "not even one row does: shorter rows, a smaller network"),
    ],
)
def test_training(room, micro_batch_size, tried, remedy):
    module = seq2seq_module("gru", micro_batch_size)
    losses = module.losses

    def with_little_room(batch):
        if len(list(batch.split(1))) > room:
            raise torch.OutOfMemoryError(FULL)
        return losses(batch)

    module.losses = with_little_room
    source = PairBatches(few_pairs(), 8, seed=1)
    trainer = lightning.Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = DataLoader(Batches(source, START, 3), batch_size=None, collate_fn=lambda one: one)
    with pytest.raises(OutOfMemory) as caught:
        trainer.fit(module, loader)
    message = str(caught.value)
    start = f"params.yaml: hardware.micro_batch_size ({tried}) must let {tried} rows fit"
    assert message.startswith(start)
    assert remedy in message


def test_search(tmp_path: Path, monkeypatch):
    def with_no_room(*_, **__):
        raise torch.OutOfMemoryError(FULL)

    class Here:
        at_once = 0

        def room(self, tokens, budget):
            return budget

        def map(self, search, items):
            return ((item, search(None, torch.device("cpu"), item)) for item in items)

    monkeypatch.setattr(batches, "beam_search", with_no_room)
    options = SearchOptions(beam_size=2, num_best=1, max_length=5, start=1, ends=(2,))
    strategy = SimpleNamespace(options=options, selector=lambda numbers: None, rules=())
    records = Records(tmp_path / "found.jsonl")
    with pytest.raises(OutOfMemory) as caught:
        batches.search_all(Here(), few_pairs().source, strategy, 64, records, "decoding@gru")
    assert "params.yaml: decoding.batch_tokens (64) must let a batch fit" in str(caught.value)
    assert "set it to 32" in str(caught.value)
