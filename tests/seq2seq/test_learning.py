"""Every architecture learns to copy and to reverse (JoeyNMT's toy task), decoded greedily."""

import numpy as np
import pytest
import torch

from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.models.protocol.registry import build_model, schema_of
from pipelines.models.protocol.sources import sources
from pipelines.seq2seq.data import PairBatches
from pipelines.seq2seq.greedy import greedy
from pipelines.seq2seq.module import Seq2SeqFinetuning
from pipelines.seq2seq.params import CommonParams
from pipelines.training.positions import Batches, Position
from tests.models.families import BLOCKS, PLAIN
from tests.optimization import OPTIMIZATION, PAIRS

SYMBOLS, TESTED = 12, 500
REPRESENTATIVES = ("gru_additive", "transformer")


def pairs(count: int, seed: int, *, backwards: bool = True) -> PairShard:
    """Sequences of 3 to 6 symbols and the same, or their reverse."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(5, 5 + SYMBOLS, rng.integers(3, 7)) for _ in range(count)]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    source = np.concatenate(rows)
    target = np.concatenate([row[::-1] if backwards else row for row in rows])
    return PairShard(
        Ragged(source.astype(np.uint16), offsets), Ragged(target.astype(np.uint16), offsets)
    )


def accuracy(name: str, *, backwards: bool) -> float:
    """Share of unseen sequences that are answered without a mistake, after training."""
    torch.manual_seed(0)
    alone = BLOCKS[name].get("attention") == "none"  # one vector has to hold the whole sequence
    wide = BLOCKS[name]["family"] == "recurrent"
    rate, updates = (4e-3 if wide else 3e-3), (2000 if alone else 500)
    block = {
        **BLOCKS[name],
        "starts_from": "data/shards",
        "dropout": 0.0,
        "learning_rate": rate,
        **PLAIN,
    }
    block["width"] = 160 if alone else 64
    if not wide:
        block |= {"feed_forward_width": 128, "num_heads": 4}
    if "initializer_range" in block:
        block["initializer_range"] = 0.08
    params = CommonParams(
        **{
            **OPTIMIZATION,
            "schedule": {"name": "linear", "warmup_updates": 100, "final_factor": 0.0},
        },
        updates=updates,
        batch_size=64,
        label_smoothing=0.0,
        **PAIRS,
    )
    model = build_model(schema_of(block["family"])(**block), 5 + SYMBOLS).train()
    module = Seq2SeqFinetuning(
        model, params, learning_rate=rate, updates=updates, validation_batches=[]
    )
    made = module.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    batches = PairBatches(pairs(20000, 0, backwards=backwards), params.batch_size, seed=1)
    for batch in Batches(batches, Position(0, 0, 0), updates):
        loss = module.losses(batch).objective["loss"] / batch.num_tokens
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    test = pairs(TESTED, 1, backwards=backwards)
    found = greedy(model.eval(), *sources([test.source[row] for row in range(TESTED)]), 10)
    return sum(found[row] == test.target[row].tolist() for row in range(TESTED)) / TESTED


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_representative_learns_to_reverse(name):
    assert accuracy(name, backwards=True) >= 0.99


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "task"),
    [
        (name, task)
        for name in BLOCKS
        for task in ("copy", "reverse")
        if task == "copy" or name not in REPRESENTATIVES
    ],
)
def test_architecture_learns(name, task):
    assert accuracy(name, backwards=task == "reverse") >= 0.99
