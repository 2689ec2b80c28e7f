"""Every family learns to reverse a sequence (JoeyNMT's toy task), searched by the real beam search."""

import numpy as np
import pytest
import torch

from pipelines.decoding.beam_search import SearchOptions, beam_search
from pipelines.seq2seq.data import PairBatches
from pipelines.seq2seq.module import Seq2SeqFinetuning
from pipelines.seq2seq.params import CommonParams
from pipelines.seq2seq.sources import sources
from pipelines.shards.format import PairShard, Ragged
from pipelines.tokenizer.special_tokens import END, START
from pipelines.training.positions import Batches, Position
from tests.optimization import OPTIMIZATION, PAIRS
from tests.seq2seq.families import BLOCKS, PLAIN

PARAMS = CommonParams(
    **{**OPTIMIZATION, "schedule": {"name": "linear", "warmup_updates": 50, "final_factor": 0.0}},
    updates=1200,
    batch_size=64,
    label_smoothing=0.0,
    **PAIRS,
)
WIDER = {"width": 64}


def pairs(count: int, seed: int) -> PairShard:
    """Sequences of 2 to 6 symbols and their reverse."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(5, 15, rng.integers(2, 7)) for _ in range(count)]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    forward, backward = np.concatenate(rows), np.concatenate([row[::-1] for row in rows])
    return PairShard(Ragged(forward.astype(np.uint16), offsets), Ragged(backward.astype(np.uint16), offsets))


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("gru", 0.9), ("gru_additive", 0.95), ("transformer", 0.95), ("rnd2rnd", 0.95)],
)
def test_family_learns_to_reverse(name, accuracy):
    from pipelines.seq2seq.models import build_model, schema_of

    torch.manual_seed(0)
    block = {**BLOCKS[name], **WIDER, "starts_from": "data/shards", "dropout": 0.0, "learning_rate": 3e-3, **PLAIN}
    if "feed_forward_width" in block:
        block |= {"feed_forward_width": 128, "num_heads": 4}
    if "initializer_range" in block:
        block["initializer_range"] = 0.08
    model = build_model(schema_of(block["family"])(**block), 15).train()
    module = Seq2SeqFinetuning(model, PARAMS, learning_rate=3e-3, updates=PARAMS.updates, validation_batches=[])
    made = module.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    batches = PairBatches(pairs(4000, 0), PARAMS.batch_size, seed=1)
    for batch in Batches(batches, Position(0, 0, 0), PARAMS.updates):
        loss = module.losses(batch).objective["loss"] / batch.num_tokens
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    test = pairs(300, 1)
    source, lengths = sources([test.source[row] for row in range(300)])
    options = SearchOptions(3, 1.0, 10, 1, start=START, end=END)
    found = beam_search(model.eval(), source, lengths, options)
    right = sum(list(found[row][0].tokens) == [*test.target[row].tolist(), END] for row in range(300))
    assert right / 300 >= accuracy
