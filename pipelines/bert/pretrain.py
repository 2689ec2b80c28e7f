"""Stage ``bert``: document shards → a BERT in the Hugging Face format."""

import sys
from pathlib import Path
from typing import Any

from pipelines.bert.params import BertParams
from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage

SHARDS, TOKENIZER = Path("data/shards"), Path("data/tokenizer")


def declare(params_file: ParamsFile) -> Stage:
    """Reads the document shards, and a BERT to go on from;
    the tokenizer's files are copied beside the model.
    """
    starts_from = Path(validate(params_file, "bert", BertParams).starts_from)
    inputs = tuple(dict.fromkeys((SHARDS, TOKENIZER, starts_from)))
    return Stage("bert", "pipelines.bert.pretrain", {"seed": Seed, "bert": BertParams}, inputs)


def pretrain(run: StageRun) -> Metrics:
    """Train, save, and measure on the held-out documents.

    Raises:
        DataError: too few documents for a batch, or nothing to measure in the held-out ones.
        CheckpointError: the BERT to start from does not fit.
        Preempted: told to stop; resumable.
    """
    from dataclasses import asdict

    import lightning.pytorch as lightning
    import numpy as np
    import torch

    from pipelines.bert.module import BertPretraining, measure_baselines
    from pipelines.formats.bert.loading import load_pretrained
    from pipelines.formats.bert.saving import save_pretrained
    from pipelines.models.bert import Bert
    from pipelines.training.nodes import ranks
    from pipelines.training.trainer import train

    params = run.section("bert", BertParams)
    rank, world_size = ranks(run)
    batches, held_out = open_batches(run, params, rank=rank, world_size=world_size)
    valid = held_out.all()

    lightning.seed_everything(run.seed, verbose=False)
    bert = Bert(params.model, batches.vocab_size)
    pretrained = 0
    if Path(params.starts_from) != SHARDS:
        pretrained = load_pretrained(bert, Path(params.starts_from), TOKENIZER)
    counts = torch.from_numpy(
        np.bincount(batches.shard.sentences.tokens, minlength=batches.vocab_size)
    )
    baselines = measure_baselines(valid, counts, batches.vocab_size)
    module = BertPretraining(
        bert,
        params,
        valid,
        baselines,
        micro_batch_size=run.hardware.micro_batch_size,
        seed=run.seed,
    )
    measured = train(module, batches, run)
    if rank > 0:
        return {}
    save_pretrained(bert, params.model, TOKENIZER, run.work)
    parameters = sum(parameter.numel() for parameter in bert.parameters())
    right = [
        f"{measured[f'valid_{task}_accuracy']:.1%} of {what}"
        for task, what in (("mlm", "masked tokens"), ("nsp", "next sentences"))
        if f"valid_{task}_accuracy" in measured
    ]
    run.say(f"{parameters:,} weights; held out, {' and '.join(right)} are right")
    return {
        "bert": {
            **measured,
            **asdict(baselines),
            "parameters": parameters,
            "pretrained_parameters": pretrained,
        }
    }


def open_batches(
    run: StageRun, params: BertParams, *, rank: int, world_size: int
) -> tuple[Any, Any]:
    """Batches for training and for validation."""
    from pipelines.bert.data import DocumentSplit, PretrainingBatches
    from pipelines.formats.shards.arrays import DocumentShard, read_index
    from pipelines.formats.vocabulary.files import continuations

    masking, vocab_size = params.masking, read_index(SHARDS)["vocab_size"]
    continues = continuations(TOKENIZER) if masking.whole_words else None
    train = DocumentSplit(
        DocumentShard.open(SHARDS, "train"),
        run.seed,
        "train",
        masking.rate,
        vocab_size,
        continues,
        digest=run.origin["data"],
        rank=rank,
        world_size=world_size,
        folder=run.folder.checkpoints / "epochs",
    )
    valid = DocumentSplit(
        DocumentShard.open(SHARDS, "valid"),
        run.seed,
        "valid",
        masking.evaluation_rate,
        vocab_size,
        continues,
    )
    return PretrainingBatches(train, params), PretrainingBatches(valid, params)


if __name__ == "__main__":
    sys.exit(run_stage(declare, pretrain))
