"""Steps of our trainings on a GPU, and of what others would train with: `benchmarks.gpu`."""

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.pretraining import START, documents, section
from benchmarks.results import Row
from benchmarks.seq2seq import CASES, VOCAB, captions, common
from benchmarks.seq2seq_peers import as_they_take_it
from benchmarks.trainer import Setting, Span, as_it_is, their_bert, trainer_steps
from pipelines.bert.data import DocumentSplit, PretrainingBatch, PretrainingBatches
from pipelines.bert.module import Baselines, BertPretraining
from pipelines.bert.params import BertParams
from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.models.bert import Bert
from pipelines.models.protocol.registry import build_model, schema_of
from pipelines.seq2seq.data import PairBatches
from pipelines.seq2seq.module import Seq2SeqFinetuning
from pipelines.speed.measure import Twice
from pipelines.training.positions import Batches, BatchSource

_VOCAB = 30528  # 30,522 padded to a multiple of 64
_TODAY = 14.0  # updates per second of our fine-tuning before it was written for GPUs


def bert_128(arguments: argparse.Namespace) -> Iterator[Row]:
    """BERT-base, rows of 128, dropout 0.1 everywhere."""
    return _bert(arguments, "base", 128, 256, attention_dropout=0.1, ratio=1.15)


def bert_128_without_attention_dropout(arguments: argparse.Namespace) -> Iterator[Row]:
    """The same without dropout of attention's weights, on both sides."""
    return _bert(arguments, "base", 128, 256, attention_dropout=0.0, ratio=1.25)


def bert_512_packed(arguments: argparse.Namespace) -> Iterator[Row]:
    """BERT-base, several sequences in a row of 512."""
    return _bert(arguments, "base", 512, 64, packed=True, speed=0.7e6)


def bert_large_512(arguments: argparse.Namespace) -> Iterator[Row]:
    """BERT-large, rows of 512."""
    return _bert(arguments, "large", 512, 32, packed=True, mfu=0.45)


def _bert(
    arguments: argparse.Namespace,
    size: str,
    length: int,
    rows: int,
    *,
    packed: bool = False,
    attention_dropout: float = 0.0,
    **goals: float,
) -> Iterator[Row]:
    """Rows of one case, each as soon as it is known.

    ``goals``: ``ratio`` to the peer, ``speed`` in tokens/s, ``mfu``.
    """
    if arguments.tiny:
        size, rows = "tiny", 512 // length
    masked = -(-length * 15 // 100)
    params = section(
        size, "bf16-mixed", packed=packed, max_length=length, max_predictions=masked,
        batch_size=rows, dropout=0.0 if packed else 0.1,
    )  # fmt: skip
    model = params.model.model_copy(update={"attention_dropout": attention_dropout})
    params = params.model_copy(update={"model": model})
    shard = documents(_VOCAB, sentences=40, words=(8, 40))
    batches = PretrainingBatches(DocumentSplit(shard, 1, "bench", 0.15, _VOCAB), params)
    bert = Bert(params.model, batches.vocab_size)
    module = BertPretraining(bert, params, [], Baselines(0.0, 1.0, 1.0, 0.5))
    ours = _our_seconds(module, batches, arguments)
    costs = [module.cost(batch) for batch in _taken(batches, arguments.steps)]
    flops = statistics.mean(cost.flops for cost in costs)
    speed = statistics.mean(cost.tokens for cost in costs) / ours
    case = f"BERT {size}, {rows} rows of {length}{' packed' if packed else ''}"
    case += f", attention dropout {attention_dropout}"
    rate, peak = flops / ours / 1e12, arguments.peak_tflops
    yield Row(f"{case}, useful", "TF/s", rate, "peak", peak, rate / peak, goals.get("mfu", 0.4))
    if goal := goals.get("speed"):
        yield Row(case, "tok/s", speed, "goal", goal, speed / goal, 1.0)
    if goal := goals.get("ratio"):
        given = list(_taken(batches, 8))
        tokens = statistics.mean(module.cost(batch).tokens for batch in given)
        its = tokens / _their_seconds(params, given, arguments)
        yield Row(case, "tok/s", speed, "HF BERT compiled, head cut", its, speed / its, goal)


def _our_seconds(module: Any, source: BatchSource, arguments: argparse.Namespace) -> float:
    """Of a step, as the product trains."""
    import lightning.pytorch as lightning

    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    on_gpu, span = arguments.accelerator == "gpu", Span(arguments.steps)

    class Steps(lightning.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if not arguments.eager:
                pl_module.compile_step()

        def on_train_batch_end(self, *_: Any) -> None:
            span.tick()

    loader: Any = torch.utils.data.DataLoader(
        Batches(Twice(source, arguments.steps), START, span.total),
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=arguments.workers,
        pin_memory=on_gpu,
    )
    lightning.Trainer(
        max_steps=span.total,
        accelerator=arguments.accelerator,
        devices=1,
        callbacks=[Steps()],
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader)
    torch.use_deterministic_algorithms(False)  # the peer runs as it likes
    return span.seconds


def _taken(batches: PretrainingBatches, count: int) -> Iterator[PretrainingBatch]:
    position = START
    for _ in range(count):
        yield batches(position)
        position = batches.after(position)


def _their_seconds(
    params: BertParams, batches: list[PretrainingBatch], arguments: argparse.Namespace
) -> float:
    """Of a step of `transformers`' BERT, compiled as a whole, its output layer at the masked tokens
    alone, their number padded so that nothing is compiled twice; batches are on the device.
    """
    device = torch.device("cuda" if arguments.accelerator == "gpu" else "cpu")
    shape = params.model
    model = their_bert(
        (shape.num_layers, shape.width), _VOCAB, "sdpa",
        hidden_dropout_prob=shape.dropout, attention_probs_dropout_prob=shape.attention_dropout,
    )  # fmt: skip
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    most = max(len(batch.labels_M) for batch in batches)
    given = [_as_theirs(batch, most, device) for batch in batches]

    def loss_of(tokens: Tensor, types: Tensor, mask: Tensor, *answered: Tensor) -> Any:
        places, labels, following = answered
        output = model.bert(input_ids=tokens, token_type_ids=types, attention_mask=mask)
        hidden = output.last_hidden_state.flatten(0, 1)[places]
        scores = model.cls.predictions(hidden).float()
        pairs = model.cls.seq_relationship(output.pooler_output).float()
        return F.cross_entropy(scores, labels) + F.cross_entropy(pairs, following)

    from torch._inductor import config as inductor

    known = hasattr(inductor, "deterministic")
    quickest: Any = {"deterministic": False} if known else {}
    whole: Callable[..., Any] = torch.compile(loss_of, options=quickest)
    span, number = Span(arguments.steps), 0
    while not span.done:
        with torch.autocast(device.type, torch.bfloat16):
            loss = whole(*given[number % len(given)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        number += 1
        span.tick()
    return span.seconds


def _as_theirs(batch: PretrainingBatch, most: int, device: torch.device) -> list[Tensor]:
    more = most - len(batch.labels_M)
    return [
        tensor.to(device)
        for tensor in (
            batch.tokens_RT,
            batch.types_RT,
            (batch.tokens_RT != PAD).long(),
            F.pad(batch.masked_M, (0, more)),
            F.pad(batch.labels_M, (0, more), value=-100),
            batch.nsp_S,
        )
    ]


def finetuning(arguments: argparse.Namespace) -> list[Row]:
    """A Transformer of 4 + 4 layers of 128, 4,096 tokens an update: updates per second."""
    case = CASES["transformer_128"]
    tokens = 256 if arguments.tiny else case.tokens
    extra = {"starts_from": "data/shards", "dropout": 0.1, "learning_rate": 1e-4, "r_drop": 0.0}
    block = {**case.block, **extra, "scheduled_sampling": 0.0}
    model = build_model(schema_of(case.block["family"]).model_validate(block), VOCAB)
    batches = PairBatches(captions(), tokens, seed=1, in_tokens=True)
    module = Seq2SeqFinetuning(
        model, common(tokens, "bf16-mixed"), learning_rate=1e-4, updates=10**6,
        validation_batches=[],
    )  # fmt: skip
    ours = 1 / _our_seconds(module, batches, arguments)
    given, position = [], START
    for _ in range(arguments.steps):
        given.append(as_they_take_it(batches(position)))
        position = batches.after(position)
    best = 0.0
    for bf16 in (True, False):
        theirs = trainer_steps(
            case.peer(VOCAB, attention="sdpa", **case.sizes),
            given * 2,
            _first,
            Setting(bf16, compiled=False, attention="sdpa"),
            rows=1,
            steps=arguments.steps,
            span=Span(arguments.steps),
            more=case.arguments,
        )
        best = max(best, 1 / statistics.mean(theirs))
    name = f"fine-tuning 4 + 4 x 128, {tokens} tokens"
    return [
        Row(name, "upd/s", ours, "HF Trainer", best, ours / best, 2.0),
        Row(name, "upd/s", ours, "ours before (H100)", _TODAY, ours / _TODAY, 3.0),
    ]


def _first(examples: list[Any]) -> Any:
    return examples[0]
