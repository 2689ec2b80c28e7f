"""Fine-tuning against Hugging Face's Trainer and torch.nn modules: target tokens per second, on
this machine.

    python -m benchmarks.seq2seq                        all cases (half an hour on two cores)
    python -m benchmarks.seq2seq --cases transformer_128

Random tokens in the lengths of image captions. Ours takes token budgets, bucketed by length as our
trainings do it; the Trainer as many pairs as fit into one on average, grouped by its
LengthGroupedSampler (or ours too, with ``--same-batches``). Label smoothing 0.1, dropout 0.1, fused
AdamW, clipping at 1. The Trainer runs in fp32 and bf16, with eager and SDPA attention (compiled too
with ``--compile``: lengths change from batch to batch, and each is compiled anew), and its best is
quoted; ours in the same two precisions. A few steps of theirs alternate with as many of ours. Only
real target tokens count.
"""

import argparse
import itertools
import logging
import statistics
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.results import Row, write
from benchmarks.seq2seq_peers import LstmOfModules, as_they_take_it, bert2bert, marian
from benchmarks.trainer import (
    WARM,
    Setting,
    allocator_as_it_comes,
    as_it_is,
    lightning_steps,
    optimization,
    trainer_steps,
)
from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.frame.memory import keep_freed_memory
from pipelines.models.protocol.registry import build_model, schema_of
from pipelines.seq2seq.data import PairBatch, PairBatches, collate
from pipelines.seq2seq.module import Seq2SeqFinetuning
from pipelines.seq2seq.params import CommonParams
from pipelines.training.positions import Batches, Position

VOCAB, _STEPS, START = 8000, 6, Position(0, 0, 0)


@dataclass(frozen=True)
class Case:
    """One network on both sides.

    Attributes:
        block: of ``seq2seq.architectures``.
        peer: of `benchmarks.seq2seq_peers`.
        tokens: budget of a batch.
        goal: ratio to reach.
        attentions: what the peer can be set to.
        arguments: for `transformers.TrainingArguments`.
    """

    block: dict[str, Any]
    peer: Any
    tokens: int
    goal: float
    attentions: tuple[str, ...] = ("eager", "sdpa")
    arguments: dict[str, float] = field(default_factory=lambda: {"label_smoothing_factor": 0.1})

    @property
    def sizes(self) -> dict[str, int]:
        """Our block's sizes, as the peer's arguments."""
        layers = "num_layers" if "num_layers" in self.block else "num_encoder_layers"
        ours = {
            "layers": layers,
            "width": "width",
            "feed_forward_width": "feed_forward_width",
            "heads": "num_heads",
        }
        return {theirs: self.block[own] for theirs, own in ours.items() if own in self.block}


def _transformer(layers: int, width: int, feed_forward_width: int, heads: int) -> dict[str, Any]:
    return {
        "family": "transformer",
        "layers": "transformer",
        "norm": "post",
        "activation": "relu",
        "positions": "sinusoidal",
        "tied": "all",
        "num_encoder_layers": layers,
        "num_decoder_layers": layers,
        "width": width,
        "num_heads": heads,
        "feed_forward_width": feed_forward_width,
        "attention_dropout": 0.1,
        "max_positions": 128,
    }


_BERT = {
    "family": "bert2bert",
    "layers": "transformer",
    "encoder": "random",
    "decoder": "random",
    "pretrained_parts": "all",
    "shared": False,
    "pretrained_rate": 1.0,
    "frozen_updates": 0,
    "num_layers": 4,
    "width": 256,
    "num_heads": 4,
    "feed_forward_width": 1024,
    "attention_dropout": 0.1,
    "max_positions": 128,
    "initializer_range": 0.02,
}
_LSTM = {
    "family": "recurrent",
    "layers": "recurrent",
    "cell": {"name": "lstm"},
    "bidirectional": True,
    "attention": "general",
    "bridge": "linear",
    "width": 512,
    "num_layers": 2,
}
CASES = {
    "transformer_128": Case(_transformer(4, 128, 256, 4), marian, 4096, 2.0),
    "transformer_512": Case(_transformer(6, 512, 2048, 8), marian, 2048, 1.4),
    "bert2bert_256": Case(_BERT, bert2bert, 4096, 0.0),
    "lstm_512": Case(_LSTM, LstmOfModules, 4096, 1.3, ("eager",), {}),
}


def captions(pairs: int = 20000, seed: int = 0) -> PairShard:
    """Random tokens in the lengths of Multi30k: sources of 15 ± 5 tokens, targets near them."""
    rng = np.random.default_rng(seed)
    source = np.clip(rng.normal(15, 5, pairs), 4, 60).astype(np.int64)
    target = np.clip(source * 0.95 + rng.normal(0, 2.5, pairs), 4, 60).astype(np.int64)
    sides = [
        Ragged(
            rng.integers(5, VOCAB, sizes.sum()).astype(np.uint16),
            np.concatenate([[0], np.cumsum(sizes)]),
        )
        for sizes in (source, target)
    ]
    return PairShard(sides[0], sides[1])


def common(tokens: int, precision: str) -> CommonParams:
    """The ``seq2seq.common`` section of a case."""
    return CommonParams.model_validate(
        {
            "updates": 10**6,
            "training_pairs": "all",
            "batch_size": tokens,
            "batch_unit": "tokens",
            "label_smoothing": 0.1,
            "bleu_pairs": 0,
            "bleu_max_length": 1,
            "select_by": "loss",
            **optimization(precision),
        }
    )


def our_steps(case: Case, batches: PairBatches, precision: str) -> list[float]:
    """Seconds of each step of our module in Lightning's Trainer."""
    extra = {"starts_from": "data/shards", "dropout": 0.1, "learning_rate": 1e-4, "r_drop": 0.0}
    params = schema_of(case.block["family"]).model_validate(
        {**case.block, **extra, "scheduled_sampling": 0.0}
    )
    module = Seq2SeqFinetuning(
        build_model(params, VOCAB),
        common(case.tokens, precision),
        learning_rate=1e-4,
        updates=10**6,
        validation_batches=[],
    )
    loader: Any = torch.utils.data.DataLoader(
        Batches(batches, START, WARM + _STEPS), batch_size=None, collate_fn=as_it_is
    )
    return lightning_steps(module, loader, _STEPS)


def our_batches(case: Case, shard: PairShard) -> tuple[PairBatches, list[PairBatch]]:
    """The source of our batches, and those that are trained on."""
    batches, found, position = PairBatches(shard, case.tokens, seed=1, in_tokens=True), [], START
    for _ in range(WARM + _STEPS):
        found.append(batches(position))
        position = batches.after(position)
    return batches, found


def speed_of_ours(case: Case, precision: str) -> float:
    """Target tokens per second."""
    batches, given = our_batches(case, captions())
    tokens = statistics.mean(batch.num_tokens for batch in given[WARM:])
    return tokens / statistics.mean(our_steps(case, batches, precision))


def their_steps(case: Case, batches: list[PairBatch], setting: Setting) -> list[float]:
    """Seconds of each step of the peer in Hugging Face's Trainer, which is given whole batches."""
    model = case.peer(VOCAB, attention=setting.attention, **case.sizes)
    examples = [as_they_take_it(batch) for batch in batches]
    return trainer_steps(
        model, examples, _first, setting, rows=1, steps=_STEPS, more=case.arguments
    )


def _first(examples: list[Any]) -> Any:
    return examples[0]


def their_batches(shard: PairShard, rows: int) -> list[PairBatch]:
    """Batches of so many pairs as Hugging Face's Trainer groups them by length, from all over its
    epoch.
    """
    from transformers.trainer_pt_utils import LengthGroupedSampler

    lengths = (shard.source.lengths + 2).tolist()
    order = np.array(
        list(
            LengthGroupedSampler(rows, lengths=lengths, generator=torch.Generator().manual_seed(1))
        )
    )
    numbers = np.linspace(0, len(order) // rows - 1, WARM + _STEPS).astype(int)
    # it sorts by length over long stretches
    numbers = np.random.default_rng(0).permutation(numbers)
    return [collate(shard, order[number * rows : (number + 1) * rows], START) for number in numbers]


def rows_of(
    name: str, *, same_batches: bool, same_allocator: bool, compiled: bool
) -> Iterator[Row]:
    """Target tokens per second of one case, in both precisions; the peer's best setting in each."""
    case, shard = CASES[name], captions()
    batches, mine = our_batches(case, shard)
    rows = round(statistics.mean(len(batch.source_BS) for batch in mine))
    given = mine if same_batches else their_batches(shard, rows)
    our_tokens, their_tokens = (
        statistics.mean(b.num_tokens for b in found[WARM:]) for found in (mine, given)
    )
    best: dict[str, float] = {}
    for precision in ("32-true", "bf16-mixed"):
        ours: list[float] = []
        theirs: dict[Setting, float] = {}
        for with_compiler, attention in itertools.product(
            (False, True) if compiled else (False,), case.attentions
        ):
            setting = Setting(precision == "bf16-mixed", with_compiler, attention)
            if not same_allocator:
                allocator_as_it_comes()
            theirs[setting] = statistics.mean(their_steps(case, given, setting))
            keep_freed_memory()
            ours += our_steps(case, batches, precision)
        speed = our_tokens / statistics.mean(ours)
        setting = min(theirs, key=lambda one: theirs[one])
        its = their_tokens / theirs[setting]
        best = {
            "ours": max(speed, best.get("ours", 0.0)),
            "theirs": max(its, best.get("theirs", 0.0)),
        }
        yield Row(
            f"{name}, {precision}", "tok/s", speed, f"Trainer, {setting}", its, speed / its, 0.0
        )
    ratio = best["ours"] / best["theirs"]
    yield Row(
        f"{name}, best precision",
        "tok/s",
        best["ours"],
        "Trainer's best",
        best["theirs"],
        ratio,
        case.goal,
    )


def padding_row() -> Row:
    """Share of slots, source and target, that hold a real token in an epoch of batches of 4,096
    tokens.
    """
    batches = PairBatches(captions(), 4096, seed=1, in_tokens=True)
    position = START
    real = 0
    slots = 0
    while position.epoch == 0:
        batch = batches(position)
        real += batch.num_tokens + int(batch.source_lengths_B.sum())
        slots += batch.labels_BT.numel() + batch.source_BS.numel()
        position = batches.after(position)
    return Row(
        "batches of 4,096 tokens, filled",
        "share",
        real / slots,
        "goal",
        0.97,
        real / slots / 0.97,
        1.0,
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--same-batches", action="store_true", help="the Trainer is given our batches"
    )
    parser.add_argument("--compile", action="store_true", help="the Trainer compiled too")
    parser.add_argument(
        "--same-allocator", action="store_true", help="freed memory is kept for Hugging Face too"
    )
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    rows = [padding_row()]
    print(rows[0], flush=True)
    for name in arguments.cases:
        for row in rows_of(
            name,
            same_batches=arguments.same_batches,
            same_allocator=arguments.same_allocator,
            compiled=arguments.compile,
        ):
            rows.append(row)
            print(row, flush=True)
    write("seq2seq", rows)


if __name__ == "__main__":
    main()
