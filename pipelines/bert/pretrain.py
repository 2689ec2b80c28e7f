"""Stage ``bert``: document shards → a BERT in the Hugging Face format."""

import sys
from pathlib import Path

from pipelines.bert.params import BertParams
from pipelines.sections import Document, Seed
from pipelines.stage import Metrics, Stage, StageRun, run_stage

SHARDS, TOKENIZER = Path("data/shards"), Path("data/tokenizer")


def declare(document: Document) -> Stage:
    """Reads the document shards; the tokenizer's files are copied beside the model."""
    return Stage("bert", "pipelines.bert.pretrain", {"seed": Seed, "bert": BertParams}, (SHARDS, TOKENIZER))


def pretrain(run: StageRun) -> Metrics:
    """Train, save, and measure on the held-out documents.

    Raises:
        DataError: too few documents for a batch.
        Preempted: told to stop; resumable.
    """
    import lightning.pytorch as lightning
    import numpy as np

    from pipelines.bert.data import SegmentBatches
    from pipelines.bert.model import Bert
    from pipelines.bert.module import BertPretraining, trivial_baselines
    from pipelines.bert.saving import save_pretrained
    from pipelines.shards.format import DocumentShard, read_index
    from pipelines.training.trainer import rank_and_world_size, train

    params = run.section("bert", BertParams)
    vocab_size = read_index(SHARDS)["vocab_size"]
    rank, world_size = rank_and_world_size(run.hardware)
    shards = {split: DocumentShard.open(SHARDS, split) for split in ("train", "valid")}
    batches = SegmentBatches(
        shards["train"],
        params,
        seed=run.seed,
        purpose="train",
        vocab_size=vocab_size,
        rank=rank,
        world_size=world_size,
    )
    held_out = SegmentBatches(shards["valid"], params, seed=run.seed, purpose="valid", vocab_size=vocab_size)
    valid = [held_out(index) for index in range(len(held_out))]

    lightning.seed_everything(run.seed, verbose=False)
    bert = Bert(params.model, vocab_size)
    module = BertPretraining(
        bert,
        params.training,
        learning_rate=params.training.learning_rate,
        validation_batches=valid,
    )
    measured = train(module, batches, run)
    if rank > 0:
        return {}
    most_frequent = int(np.bincount(shards["train"].sentences.tokens, minlength=vocab_size).argmax())
    save_pretrained(bert, params.model, TOKENIZER, run.work)
    return {
        "bert": {
            **measured,
            **trivial_baselines(valid, most_frequent),
            "parameters": sum(parameter.numel() for parameter in bert.parameters()),
        }
    }


if __name__ == "__main__":
    sys.exit(run_stage(declare, pretrain))
