"""Beam search against transformers' `generate` and CTranslate2: sentences per second, on this
machine.

    python -m benchmarks.beam_search                               the small Transformer, Multi30k's
    lengths, 15 steps python -m benchmarks.beam_search --case transformer_512        another network
    of `benchmarks.seq2seq` python -m benchmarks.beam_search --case bert2bert_256          against
    `generate`: CTranslate2 has no such model

Identical weights, sources, stop rule and, in fp32, identical ids (checked): a vocabulary of 8,000,
1,000 sources, beam 5, exactly 15 steps. All run on two threads: ours as one batch per core,
CTranslate2 as two workers of one thread (the better layout), `generate` on batches of 64 as it
comes. The engines take turns; medians of ``--rounds``.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.results import Row, write
from benchmarks.seq2seq import CASES, VOCAB, Case, captions
from benchmarks.seq2seq_peers import give_bert_weights, give_weights
from pipelines.decoding.batches import search_all
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.strategies import Strategy
from pipelines.decoding.workers import Workers
from pipelines.exports.ctranslate2 import to_ctranslate2
from pipelines.formats.shards.arrays import Ragged
from pipelines.formats.vocabulary.special_tokens import CLS, END, PAD, SEP, SPECIAL_TOKENS, START
from pipelines.frame.hardware import Hardware
from pipelines.frame.records import Records
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.registry import build_model, schema_of
from pipelines.models.protocol.sources import sources
from pipelines.nn.cpu.linear import Precision

SENTENCES, BEAM, STEPS, THREADS = 1000, 5, 15, 2
WORDS = [*SPECIAL_TOKENS, *(f"w{number}" for number in range(5, VOCAB))]
Ids = list[list[int]]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


def build(case: Case) -> Seq2SeqModel:
    """Random weights; nothing but ordinary words is ever likely, so that all engines take all
    steps.
    """
    torch.manual_seed(0)
    extra = {"starts_from": "data/shards", "dropout": 0.0, "learning_rate": 1e-3, "r_drop": 0.0}
    schema = schema_of(case.block["family"])
    model = build_model(
        schema.model_validate({**case.block, **extra, "scheduled_sampling": 0.0}), VOCAB
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                size = 1 if len(parameter) == VOCAB else 2
                torch.nn.init.normal_(parameter, std=size * case.sizes["width"] ** -0.5)
        model.output_bias[: len(SPECIAL_TOKENS)] = -1e4
    return model


def params(budget: int, beam: int = BEAM) -> DecodingParams:
    """Ours: the same score and stop rule as the others'."""
    return DecodingParams.model_validate(
        {
            "strategy": {"name": "beam"}, "beam_size": beam, "curve": [], "num_best": 1,
            "min_length": STEPS,
            "max_length": STEPS, "no_repeat": 0, "rerank": "none", "batch_tokens": budget,
            "score": {"name": "average", "strength": 1.0, "end_counts": True, "coverage": 0.0},
            "stop": {"rule": "finished", "patience": 1.0}, "precision": "float32",
        }
    )  # fmt: skip


def ours(
    model: Seq2SeqModel,
    source: Ragged,
    budget: int,
    precision: Precision,
    accelerator: Literal["cpu", "gpu"] = "cpu",
) -> Callable[[], Ids]:
    """Our stage's search."""
    fields: Any = dict.fromkeys(("devices", "num_nodes", "checkpoint_every", "keep_checkpoints"), 1)
    fields |= {"num_workers": 0, "micro_batch_size": 0, "compile": False, "checkpoint_minutes": 1.0}
    fields["deterministic"], fields["watch"] = True, "off"
    hardware = Hardware(accelerator=accelerator, strategy="auto", num_threads=THREADS, **fields)
    workers = Workers(copy.deepcopy(model), hardware, precision)
    strategy = Strategy(params(budget), 0, BEAM, 1)

    def run() -> Ids:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            found = search_all(
                workers, source, strategy, budget, Records(Path(folder, "x")), "ours"
            )
        return [list(group[0].tokens) for group in found.hypotheses]

    return run


def generate(
    model: Seq2SeqModel, source: Ragged, case: Case, *, device: str = "cpu", rows: int = 64
) -> Callable[[], Ids]:
    """`generate` of `transformers`' model of the same kind, on batches of so many ``rows``."""
    import transformers

    theirs = case.peer(VOCAB, **case.sizes, attention="sdpa").eval()
    if case.block["family"] == "bert2bert":
        theirs.decoder.tie_weights()
        give_bert_weights(model, theirs)
    else:
        give_weights(model, theirs)
    theirs.to(device)
    configuration: Any = transformers.GenerationConfig
    settings = configuration(
        num_beams=BEAM, max_new_tokens=STEPS, min_new_tokens=STEPS, do_sample=False,
        length_penalty=1.0,
        early_stopping=True, eos_token_id=END, pad_token_id=PAD, decoder_start_token_id=START,
    )  # fmt: skip

    def run() -> Ids:
        torch.set_num_threads(THREADS)
        order = np.argsort(source.lengths, kind="stable")
        found: Ids = [[] for _ in order]
        for first in range(0, len(order), rows):
            batch = order[first : first + rows]
            source_BS, lengths_B = sources([source[row] for row in batch])
            mask = (torch.arange(source_BS.shape[1]) < lengths_B[:, None]).long()
            sequences = theirs.generate(
                source_BS.to(device), attention_mask=mask.to(device), generation_config=settings
            )
            for row, ids in zip(batch, sequences[:, 1:].tolist(), strict=True):
                found[row] = ids
        return found

    return run


def ctranslate2(source: Ragged, folder: Path, compute_type: str) -> Callable[[], Ids]:
    """`ctranslate2.Translator` of an exported model."""
    import ctranslate2 as library

    translator: Any = library.Translator(
        str(folder), device="cpu", compute_type=compute_type, inter_threads=THREADS, intra_threads=1
    )
    texts = [[WORDS[token] for token in (CLS, *source[row], SEP)] for row in range(len(source))]
    numbers = {word: number for number, word in enumerate(WORDS)}

    def run() -> Ids:
        found = translator.translate_batch(
            texts, beam_size=BEAM, max_decoding_length=STEPS, min_decoding_length=STEPS,
            length_penalty=1.0,
            max_batch_size=64,
        )  # fmt: skip
        return [[numbers[word] for word in result.hypotheses[0]] for result in found]

    return run


def seconds(run: Callable[[], Ids]) -> tuple[float, Ids]:
    """Of one run."""
    started = time.perf_counter()
    found = run()
    return time.perf_counter() - started, found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--case", choices=[name for name in CASES if name != "lstm_512"], default="transformer_128"
    )
    parser.add_argument(
        "--budget",
        type=int,
        default=4600,
        help="source tokens of our batches; this makes five of them",
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    case = CASES[arguments.case]
    model, source = build(case), captions(SENTENCES).source
    with tempfile.TemporaryDirectory() as folder:
        runs = {f"ours, {name}": ours(model, source, arguments.budget, name) for name in PRECISIONS}
        goals = [("ours, float32", "generate", 3.5)]
        if case.block["family"] == "transformer":
            exported = Path(folder, "model")
            to_ctranslate2(model, WORDS, exported)
            runs |= {
                f"CTranslate2, {name}": ctranslate2(source, exported, name)
                for name in ("float32", "int8")
            }
            goals += [("ours, float32", "CTranslate2, float32", 1.0)]
            goals += [(name, "CTranslate2, int8", 1.0) for name in ("ours, int8", "ours, bfloat16")]
        runs["generate"] = generate(model, source, case)
        taken: dict[str, list[float]] = {name: [] for name in runs}
        ids: dict[str, Ids] = {}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                took, ids[name] = seconds(run)
                taken[name].append(took)
    speeds = {name: SENTENCES / statistics.median(found) for name, found in taken.items()}
    rows = [
        Row(
            f"{arguments.case}, {one}",
            "sent/s",
            speeds[one],
            other,
            speeds[other],
            speeds[one] / speeds[other],
            goal,
        )
        for one, other, goal in goals
    ]
    for name in list(runs)[1:]:
        same = sum(one == other for one, other in zip(ids["ours, float32"], ids[name], strict=True))
        print(
            f"{name}: {same} of {SENTENCES} translations are those of ours in float32", flush=True
        )
    write("beam_search", rows)


if __name__ == "__main__":
    main()
