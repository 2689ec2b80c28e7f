"""A rank of several trains every family for some updates, keeps the weights: ``python -m
tests.training.ranked FILE``.

Run by ``test_ranks_without_rows``, with the variables that torchrun sets.
"""

import sys
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor
from torch.utils.data import DataLoader

from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.frame.processes import leave_rank
from pipelines.seq2seq.data import PairBatches, validation_batches
from pipelines.seq2seq.module import Seq2SeqFinetuning
from pipelines.seq2seq.params import CommonParams
from pipelines.training.positions import Batches, Position
from tests.models.families import BLOCKS, build
from tests.optimization import OPTIMIZATION, PAIRS

START, TOKENS, UPDATES = Position(0, 0, 0), 56, 3


def few_pairs() -> PairShard:
    """Few and unequal pairs: a batch of 56 tokens holds one to three."""
    rng = np.random.default_rng(3)

    def side() -> Ragged:
        sizes = rng.integers(4, 18, 10)
        return Ragged(
            rng.integers(5, 20, sizes.sum()).astype(np.uint16),
            np.concatenate([[0], np.cumsum(sizes)]),
        )

    return PairShard(side(), side())


def seq2seq_module(name: str, micro_batch_size: int = 0) -> Seq2SeqFinetuning:
    """A model of a family in float64 and what trains it."""
    common = CommonParams(
        **OPTIMIZATION,
        updates=UPDATES,
        batch_size=TOKENS,
        label_smoothing=0.1,
        **{**PAIRS, "batch_unit": "tokens"},
    )
    return Seq2SeqFinetuning(
        build(name), common, learning_rate=0.01, updates=UPDATES, validation_batches=[], r_drop=1.0,
        micro_batch_size=micro_batch_size,
    )  # fmt: skip


def trained(name: str, micro_batch_size: int) -> tuple[list[Tensor], list[int], dict[str, float]]:
    """Weights after the last update, how many rows with something to learn each batch of this
    rank had, and a validation.
    """
    environment = TorchElasticEnvironment()
    rank, world_size = environment.global_rank(), environment.world_size()
    module = seq2seq_module(name, micro_batch_size)
    source = PairBatches(
        few_pairs(), TOKENS, in_tokens=True, seed=1, rank=rank, world_size=world_size
    )
    rows = [int((one.labels_BT != PAD).any(dim=1).sum()) for one in Batches(source, START, UPDATES)]
    trainer = lightning.Trainer(
        plugins=[environment], accelerator="cpu", devices=world_size, strategy="ddp",
        max_steps=UPDATES, logger=False,
        use_distributed_sampler=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    module.validation_batches = validation_batches(few_pairs(), 3)
    measured: dict[str, float] = {}
    module.on_train_end = lambda: measured.update(module.validate())  # type: ignore[method-assign]
    trainer.fit(
        module,
        DataLoader(
            Batches(source, START, UPDATES), batch_size=None, collate_fn=lambda batch: batch
        ),
    )
    return [parameter.detach() for parameter in module.network.parameters()], rows, measured


def main() -> None:
    """Train every family, and write ``{(family, micro-batch size): (weights, rows, averages)}``."""
    torch.set_num_threads(1)
    torch.save(
        {(name, size): trained(name, size) for name in BLOCKS for size in (0, 1)}, Path(sys.argv[1])
    )
    leave_rank(0)  # as a stage does


if __name__ == "__main__":
    main()
