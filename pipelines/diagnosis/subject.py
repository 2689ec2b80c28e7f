"""A trained model as the diagnosis sees it: its training set up again, its weights put back."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from pipelines.diagnosis.params import Diagnosed
from pipelines.diagnosis.problem import Problem, flat, learnable, room
from pipelines.formats.bert.loading import load_pretrained
from pipelines.frame.errors import CheckpointError
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.trials import Training
from pipelines.optim.schedules import factor
from pipelines.training.positions import Position
from pipelines.training.snapshots import Snapshot, load_snapshot, put_into, updates_in
from pipelines.training.trainer import uses_gpu

TOKENIZER = Path("data/tokenizer")


@dataclass
class Subject:
    """A model at one point of its training; in float32, dropout off.

    Attributes:
        training: set up again; its network holds the weights that are looked at.
        model: what is looked at.
        start: the weights it began with [P]; None where those were another model's.
        snapshot: of the update looked at; None for the trained model.
    """

    training: Training
    model: Diagnosed
    start: Tensor | None
    snapshot: Snapshot | None

    @classmethod
    def load(cls, training: Training, model: Diagnosed, *, random: bool) -> "Subject":
        """Put the weights of ``model`` into its training.

        Args:
            training: set up.
            model: whose.
            random: it began at random: with the weights that are there now.

        Raises:
            CheckpointError: they cannot be read, or are of another network.
        """
        module = training.module
        module.params = module.params.model_copy(update={"precision": "32-true"})
        module.to("cuda" if uses_gpu(training.run.hardware) else "cpu")
        network = module.network
        start = flat(list(learnable(network).values())) if random else None
        out, snapshot = Path(model.trained), None
        if model.update != "last":
            snapshot = load_snapshot(out, model.update)
            put_into(network, snapshot.weights, out)
        elif module.updates in updates_in(out) and _keeps_the_last(module.params):
            snapshot = load_snapshot(out, module.updates)  # it has what the optimizer knows
            put_into(network, snapshot.weights, out)
        elif model.training[0] == "seq2seq":
            put_into(network, _weights(out), out)
        else:
            load_pretrained(network, out, TOKENIZER)
        network.eval()
        return cls(training, model, start, snapshot)

    @property
    def network(self) -> Any:
        """The model."""
        return self.training.module.network

    def batches(self, number: int) -> list[Any]:
        """The first batches of its training, on its device."""
        module, position, found = self.training.module, Position(0, 0, 0), []
        for _ in range(number):
            batch = self.training.source(position)
            found.append(apply_to_collection(batch, Tensor, Tensor.to, module.device))
            position = self.training.source.after(position)
        return found

    def problem(self, batch: Any) -> Problem:
        """The training loss on a batch, as one part."""
        return Problem(
            learnable(self.network), [self.loss_on(batch)], self.model.section, rows=rows_of(batch)
        )

    def gradient_on(self, batch: Any) -> Tensor:
        """The gradient [P] on a batch, in micro-batches, by the kernels of its training.

        Raises:
            OutOfMemory: they do not fit.
        """
        module, weights = self.training.module, list(learnable(self.network).values())
        terms = module.num_terms(batch)
        total = torch.zeros_like(flat(weights))
        for part in module.micro_batches(batch):
            with room("hardware.micro_batch_size", rows_of(part)):
                loss = self.loss_on(part, terms)()
                found = torch.autograd.grad(loss, weights, allow_unused=True)
            total += flat(
                [
                    torch.zeros_like(weight) if one is None else one
                    for one, weight in zip(found, weights, strict=True)
                ]
            )
        return total

    def loss_on(self, batch: Any, whole: Mapping[str, int] | None = None) -> Callable[[], Tensor]:
        """The objective's mean over a batch, as an update has it; or its part in a ``whole`` of so
        many terms.
        """
        module = self.training.module
        counts = module.num_terms(batch) if whole is None else whole
        terms = {name: max(1, number) for name, number in counts.items()}

        def loss() -> Tensor:
            sums = module.losses(batch).objective
            return torch.stack([total / terms[name] for name, total in sums.items()]).sum()

        return loss

    def trajectory(self) -> Iterator[tuple[int, Tensor]]:
        """Update and weights [P] of the start and of each snapshot, rising."""
        if self.start is not None:
            yield 0, self.start
        out = Path(self.model.trained)
        for update in updates_in(out):
            yield update, self.in_order(load_snapshot(out, update).weights)

    def in_order(self, named: dict[str, Tensor]) -> Tensor:
        """Tensors by name as a vector [P] of the weights that learn.

        Raises:
            CheckpointError: one is missing or has another shape.
        """
        own = learnable(self.network)
        if wrong := [n for n, w in own.items() if n not in named or named[n].shape != w.shape]:
            raise CheckpointError(
                f"{self.model.trained}: its snapshots must have the network's weights "
                f"({wrong[0]}); train again"
            )
        return flat([named[name].to(weight) for name, weight in own.items()])

    def second_moment(self) -> Tensor | None:
        """The optimizer's average of squared gradients [P] of the snapshot, where it has one."""
        if self.snapshot is None:
            return None
        if not learnable(self.network).keys() <= self.snapshot.second_moment.keys():
            return None  # Muon's matrices have none, nor weights that stand still so far
        return self.in_order(self.snapshot.second_moment)

    @property
    def update(self) -> int:
        """Updates done."""
        return self.training.module.updates if self.model.update == "last" else self.model.update

    def learning_rate(self) -> float | None:
        """Of the update that was done last; None where the weights are those of another one, which
        is not told: the best, or a mean.
        """
        module = self.training.module
        if self.model.update == "last" and not _keeps_the_last(module.params):
            return None
        place = factor(module.params.schedule, self.update - 1, total=module.updates)
        return float(module.learning_rate * place)

    def baselines(self) -> dict[str, float]:
        """``trivial_loss`` of answering with frequencies and ``uniform_loss`` of knowing nothing,
        in nats, of the loss that is measured first.
        """
        module, source = self.training.module, self.training.source
        stage = self.model.training[0]
        if stage == "bert":
            known = module.baselines
            return {"trivial_loss": known.unigram_entropy, "uniform_loss": known.uniform_loss}
        if stage == "seq2seq":
            target = source.shard.target
            counts = np.bincount(target.tokens)
            counts = np.append(counts[counts > 0], len(target))  # each ends once
            return _baselines(counts, len(self.network.output.weight))
        labels = torch.cat([batch.labels_R for batch in module.validation_batches])
        counts = torch.bincount(labels[labels >= 0]).numpy()
        return _baselines(counts[counts > 0], len(counts))


def rows_of(batch: Any) -> int:
    """Rows of a batch, whatever it is made of."""
    return sum(1 for _ in batch.split(1))


def _keeps_the_last(params: Any) -> bool:
    """Whether a training leaves the weights of its last update."""
    return bool(params.select == "last" and params.average == 1)


def begin_at_random(params_file: ParamsFile, section: str) -> bool:
    """Let a training begin at random, lest it look for a BERT that it once began with; whether it
    did begin at random.
    """
    block = params_file.get(section)
    random: bool = block["starts_from"] == "data/shards"
    block["starts_from"] = "data/shards"
    for side in {"encoder", "decoder"} & block.keys():
        block[side] = "random"
    return random


def _baselines(counts: Any, choices: int) -> dict[str, float]:
    shares = counts / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum())
    return {"trivial_loss": entropy, "uniform_loss": math.log(choices)}


def _weights(out: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(out / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{out}/model.safetensors: cannot be read ({error}); train it: dvc repro"
        ) from None
