"""Between a training and what watches it learn: see `pipelines.watch.learning`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pipelines.formats.randomness import stream_seed


@contextmanager
def watched(module: Any, batch: Any, loss: Tensor, norm: Tensor) -> Iterator[None]:
    """A block in which the optimizer steps, for a `TrainingModule` whose ``learning`` may watch.

    Args:
        module: what trains.
        batch: this rank's part of the update's batch.
        loss: this rank's part of its loss.
        norm: of the whole gradient.
    """
    learning, update = module.learning, module.global_step + 1
    if learning is None:
        yield
        return
    looks = learning.looks(update)
    rate = module.trainer.optimizers[0].param_groups[0]["lr"]  # before the schedule goes on
    if looks:
        learning.before(list(module.network.parameters()))
    yield
    if looks:
        _look(module, batch, norm, update, rate)
    learning.after(update, loss * _share(module, batch), norm)


def _share(module: Any, batch: Any) -> Any:
    """Terms in the whole batch over those of this rank, of the first objective: a rank's part of
    the loss times this is its own mean.
    """
    own = next(iter(module.num_terms(batch).values()))
    return module.agreed.totals[0] / max(1, own)


def _look(module: Any, batch: Any, norm: Tensor, update: int, rate: float) -> None:
    """Let it look at the step just taken; no random stream goes on from here."""
    parts = module.micro_batches(batch)
    rows = sum(1 for _ in parts[0].split(1))
    compiled, detailed = module.compiled, module.detailed
    module.compiled = module.detailed = False
    seed = stream_seed(module.seed, "forward pass", update - 1, 1, module.global_rank)

    def loss_of(share: float) -> float:
        part = next(iter(parts[0].split(max(1, round(rows * share)))))
        torch.manual_seed(seed)  # the same dropout each time
        with module.autocast():
            losses, terms = module.losses(part), module.num_terms(part)
        return sum(float(total) / max(1, terms[name]) for name, total in losses.objective.items())

    named = list(module.network.named_parameters())
    # The estimate is of equal parts that one rank has, and of all weights.
    equal = rows == sum(1 for _ in parts[-1].split(1)) and not module.frozen(update - 1)
    alone = equal and module.trainer.world_size == 1
    several = (len(parts), norm) if alone and len(parts) > 1 else None
    module.learning.look(update, named, loss_of, several, rate=rate)
    module.compiled, module.detailed = compiled, detailed
