"""How noisy gradients are, by the rows of a batch."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.diagnosis.problem import flat, learnable
from pipelines.laboratory.runs import Job, set_up_small
from pipelines.training.positions import Position

BATCHES = (1, 4, 16, 64, 256)
_TRIES = 8  # batches of each size


def noise_by_batch(seed: int) -> dict[int, float]:
    """Rows of a batch → E‖g − ḡ‖² / ‖ḡ‖² of the small BERT's gradients before it has learnt, ḡ the
    mean over 1,024 rows: one over the rows, until so many agree.
    """
    rows = BATCHES[-1]
    job = Job("bert", "full batch", 1.0, seed, rows, rows)
    with tempfile.TemporaryDirectory() as folder:
        module, source, _ = set_up_small(job, Path(folder))
        module.network.eval()
        position, batches = Position(0, 0, 0), []
        for _ in range(4):
            batches.append(source(position))
            position = source.after(position)
        mean = torch.stack([_gradient(module, batch) for batch in batches]).mean(dim=0)
        found = {}
        for size in BATCHES:
            parts = [part for batch in batches for part in batch.split(size)][:_TRIES]
            apart = [float((_gradient(module, part) - mean).square().sum()) for part in parts]
            found[size] = sum(apart) / len(apart) / float(mean.square().sum())
    return found


def _gradient(module: Any, batch: Any) -> Tensor:
    weights = list(learnable(module.network).values())
    terms, sums = module.num_terms(batch), module.losses(batch).objective
    loss = torch.stack([total / max(1, terms[name]) for name, total in sums.items()]).sum()
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return flat(
        [
            torch.zeros_like(weight) if part is None else part
            for part, weight in zip(found, weights, strict=True)
        ]
    )
