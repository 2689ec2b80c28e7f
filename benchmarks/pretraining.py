"""Pretraining against Hugging Face's Trainer, and batch making against its collator, on this
machine.

    python -m benchmarks.pretraining                 everything (about half an hour on two cores)
    python -m benchmarks.pretraining --sizes mini    one size
    python -m benchmarks.pretraining --only batches  one part: steps, batches or packing

Both sides train BERT with MLM and NSP on full rows of 32 × 128 random tokens, 19 of them masked,
dropout 0.1, fused AdamW, clipping at 1. Hugging Face runs in every setting that might be its best:
fp32 and bf16, eager and SDPA attention, compiled and not. A few steps of theirs alternate with as
many of ours and with the machine's matrix-product rate, for it drifts. Our side keeps freed memory,
as our trainings do; theirs has the allocator as it comes, or ours with ``--same-allocator``.
"""

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.results import Row, write
from benchmarks.trainer import (
    WARM,
    Setting,
    allocator_as_it_comes,
    as_it_is,
    bert_steps,
    lightning_steps,
    optimization,
)
from pipelines.bert.data import DocumentSplit, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.bert.params import BertParams
from pipelines.formats.shards.arrays import DocumentShard, Ragged
from pipelines.formats.vocabulary.special_tokens import MASK, PAD
from pipelines.frame.memory import keep_freed_memory
from pipelines.models.bert import Bert
from pipelines.training.positions import Batches, Position
from pipelines.watch.speed import largest_product

SIZES = {
    "large": (24, 1024),
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "base": (12, 768),
}
PRECISIONS = ["bf16-mixed", "32-true"]
HEADS = {"shipped": 2.0, "cut": 1.3}  # the output layer on all tokens or on the masked ones → goal
START = Position(0, 0, 0)
ROWS, LENGTH = 32, 128
_STEPS = 3


def section(size: str, precision: str, **changes: Any) -> BertParams:
    """The bert section of one case; ``changes`` go to segments and phases by key."""
    layers, width = SIZES[size]
    phase = {
        "updates": 10**6,
        "batch_size": ROWS,
        "ramp": "none",
        "max_length": LENGTH,
        "max_predictions": 20,
    }
    segments = {"nsp": "random", "short_rate": 0.0, "packed": False}
    return BertParams.model_validate(
        {
            "starts_from": "data/shards",
            "model": {
                "num_layers": layers,
                "width": width,
                "num_heads": width // 64,
                "feed_forward_width": 4 * width,
                "dropout": changes.get("dropout", 0.1),
                "attention_dropout": changes.get("dropout", 0.1),
                "max_positions": 512,
                "initializer_range": 0.02,
                "vocab_pad_multiple": 1,
            },
            "segments": {key: changes.get(key, value) for key, value in segments.items()},
            "masking": {"rate": 0.15, "evaluation_rate": 0.15, "whole_words": False},
            "phases": [{key: changes.get(key, value) for key, value in phase.items()}],
            "training": {"learning_rate": 1e-4, **optimization(precision)},
        }
    )


def documents(
    vocab_size: int, *, sentences: int, words: tuple[int, int], seed: int = 0
) -> DocumentShard:
    """2,000 documents of random tokens, sentences of ``words`` tokens."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(*words, 2000 * sentences)
    tokens = rng.integers(5, vocab_size, lengths.sum()).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return DocumentShard(
        Ragged(tokens, offsets), np.arange(0, len(lengths) + 1, sentences), {"en": (0, 2000)}
    )


def our_steps(
    params: BertParams,
    batches: PretrainingBatches,
    steps: int,
    *,
    accelerator: str = "cpu",
    workers: int = 0,
    compiled: bool = False,
) -> list[float]:
    """Seconds of each step of our module in Lightning's Trainer."""
    bert = Bert(params.model, batches.vocab_size)
    module = BertPretraining(bert, params, [], Baselines(0.0, 1.0, 1.0, 0.5))
    if compiled:
        module.compile_step()
    loader: Any = torch.utils.data.DataLoader(
        Batches(batches, START, WARM + steps),
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=workers,
    )
    return lightning_steps(module, loader, steps, accelerator)


def mean_cost(
    params: BertParams, batches: PretrainingBatches, steps: int
) -> tuple[float, float, float]:
    """Real tokens, useful operations and token slots of the steps `our_steps` measures, on
    average.
    """
    with torch.device("meta"):
        module = BertPretraining(
            Bert(params.model, batches.vocab_size), params, [], Baselines(0.0, 1.0, 1.0, 0.5)
        )
    found, position = [], START
    for step in range(WARM + steps):
        if step >= WARM:
            found.append(module.cost(batches(position)))
        position = batches.after(position)
    mean = statistics.mean
    return (
        mean(cost.tokens for cost in found),
        mean(cost.flops for cost in found),
        mean(cost.slots for cost in found),
    )


def examples_of(batches: PretrainingBatches, count: int) -> list[dict[str, Any]]:
    """Our own rows as Hugging Face takes them."""
    found: list[dict[str, Any]] = []
    position = START
    while len(found) < count:
        batch = batches(position)
        position = batches.after(position)
        labels = torch.full_like(batch.tokens_RT, -100).flatten()
        labels[batch.masked_M] = batch.labels_M
        for row in range(len(batch.tokens_RT)):
            found.append(
                {
                    "input_ids": batch.tokens_RT[row],
                    "token_type_ids": batch.types_RT[row],
                    "attention_mask": (batch.tokens_RT[row] != PAD).long(),
                    "labels": labels.view_as(batch.tokens_RT)[row],
                    "next_sentence_label": int(batch.nsp_S[row]),
                }
            )
    return found


def steps_rows(
    sizes: list[str], precisions: list[str], heads: list[str], *, same_allocator: bool
) -> Iterator[Row]:
    """Tokens per second of a training step, and its share of the machine's matrix-product rate."""
    cases = [(size, precision, 30522) for size in sizes for precision in precisions]
    cases += [("mini", precisions[0], 8000)] if "mini" in sizes else []
    for case in cases:
        yield from _case_rows(*case, heads, same_allocator=same_allocator)


def _case_rows(
    size: str, precision: str, vocab_size: int, heads: list[str], *, same_allocator: bool
) -> Iterator[Row]:
    """The rows of one size and precision."""
    params, bf16 = section(size, precision), precision == "bf16-mixed"
    batches = PretrainingBatches(
        DocumentSplit(
            documents(vocab_size, sentences=40, words=(8, 40)), 1, "bench", 0.15, vocab_size
        ),
        params,
    )
    examples = examples_of(batches, ROWS * (WARM + _STEPS))
    settings = [
        Setting(bf16, compiled, attention, masked)
        for masked in (head == "cut" for head in heads)
        for compiled in (False, True)
        for attention in ("eager", "sdpa")
    ]
    ours: list[float] = []
    rates: list[float] = []
    theirs: dict[Setting, list[float]] = {setting: [] for setting in settings}
    dtype = torch.bfloat16 if bf16 else torch.float32
    for setting in settings:
        if not same_allocator:
            allocator_as_it_comes()
        theirs[setting] += bert_steps(
            SIZES[size], vocab_size, examples, setting, rows=ROWS, steps=_STEPS
        )
        keep_freed_memory()
        rates.append(largest_product(torch.device("cpu"), dtype)[1])
        ours += our_steps(params, batches, _STEPS)
        rates.append(largest_product(torch.device("cpu"), dtype)[1])
    tokens, flops, _ = mean_cost(params, batches, _STEPS)
    speed = statistics.median(ours)
    case = f"{size}, {precision}, V = {vocab_size}"
    for masked, goal in ((head == "cut", HEADS[head]) for head in heads):
        best = min(
            (s for s in settings if s.masked_head == masked),
            key=lambda s: statistics.median(theirs[s]),
        )
        other = statistics.median(theirs[best])
        yield Row(
            case,
            "tok/s",
            tokens / speed,
            f"Trainer, {best}",
            tokens / other,
            other / speed,
            goal,
        )
    rate, goals = statistics.median(rates), {"mini": 0.5, "small": 0.6}
    share = flops / speed / rate
    yield Row(
        f"{case}, useful",
        "GF/s",
        flops / speed / 1e9,
        "matrix product",
        rate / 1e9,
        share,
        goals.get(size, 0.0),
    )


def batch_rows() -> Iterator[Row]:
    """Batch making on one thread: pairs, masks and rows of ours; the masks alone of theirs."""
    from transformers import BertTokenizer, DataCollatorForLanguageModeling

    vocab_size, count = 30522, 40
    params = section("tiny", "32-true", batch_size=256)
    shard = documents(vocab_size, sentences=40, words=(5, 45))
    split = DocumentSplit(shard, 1, "bench", 0.15, vocab_size)
    plan = min(_seconds(lambda: PretrainingBatches(split, params).after(START)) for _ in range(3))
    batches = PretrainingBatches(split, params)
    position, times = START, []
    for _ in range(count):  # dropped once counted, as a training does
        times.append(_seconds(partial(batches, position)))
        position = batches.after(position)
    tokens, _, _ = mean_cost(params, batches, count)
    rows_in_epoch = batches.rows_in_epoch(START)
    ours = tokens / (statistics.median(times) + plan * 256 / rows_in_epoch)
    vocabulary = {
        token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    }
    vocabulary |= {f"w{i}": i for i in range(5, vocab_size)}
    assert vocabulary["[MASK]"] == MASK
    collator = DataCollatorForLanguageModeling(
        BertTokenizer(vocab=vocabulary), mlm_probability=0.15
    )
    rows = [{"input_ids": row} for row in batches(START).tokens_RT]
    theirs = tokens / statistics.median(_seconds(lambda: collator(rows)) for _ in range(count))
    yield Row(
        "batches of 256 × 128",
        "Mtok/s",
        ours / 1e6,
        "HF collator, masks only",
        theirs / 1e6,
        ours / theirs,
        5.0,
    )
    yield Row("batches of 256 × 128", "Mtok/s", ours / 1e6, "goal", 20.0, ours / 20e6, 1.0)


def packing_rows() -> Iterator[Row]:
    """Rows of 512 with lengths uniform in 8 … 500: packed against padded, real tokens per
    second.
    """
    shard = documents(8000, sentences=1, words=(6, 499))
    changes = {"nsp": "none", "max_length": 512, "max_predictions": 77, "dropout": 0.0}
    cases = {
        packed: section("mini", "bf16-mixed", packed=packed, batch_size=rows, **changes)
        for packed, rows in ((True, 32), (False, 64))
    }
    batches = {
        packed: PretrainingBatches(DocumentSplit(shard, 1, "bench", 0.15, 8000), params)
        for packed, params in cases.items()
    }
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(4):
        for packed, params in cases.items():
            seconds[packed] += our_steps(params, batches[packed], 2 * _STEPS)
    costs = {
        packed: mean_cost(params, batches[packed], 2 * _STEPS) for packed, params in cases.items()
    }
    speeds = {packed: costs[packed][0] / statistics.median(seconds[packed]) for packed in cases}
    fill = costs[True][0] / costs[True][2]
    yield Row(
        "packed rows of 512",
        "tok/s",
        speeds[True],
        "padded",
        speeds[False],
        speeds[True] / speeds[False],
        1.8,
    )
    yield Row("packed rows of 512, filled", "share", fill, "goal", 0.98, fill / 0.98, 1.0)


def _seconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "mini", "small"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument(
        "--heads", nargs="+", choices=HEADS, default=list(HEADS), help="of Hugging Face's model"
    )
    parser.add_argument("--only", choices=("steps", "batches", "packing"))
    parser.add_argument(
        "--same-allocator", action="store_true", help="freed memory is kept for Hugging Face too"
    )
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "batches": batch_rows,
        "packing": packing_rows,
        "steps": lambda: steps_rows(
            arguments.sizes,
            arguments.precisions,
            arguments.heads,
            same_allocator=arguments.same_allocator,
        ),
    }
    rows = []
    for name, part in parts.items():
        if arguments.only in (None, name):
            for row in part():
                rows.append(row)
                print(row, flush=True)
    write("pretraining", rows)


if __name__ == "__main__":
    main()
