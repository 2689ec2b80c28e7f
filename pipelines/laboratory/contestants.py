"""Who is compared: optimizers, their batches, and the learning rates each may try."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ADAM = {"beta1": 0.9, "beta2": 0.98, "epsilon": 1e-8, "weight_decay": 0.0}
_ADAMW = {**_ADAM, "weight_decay": 0.01}
_PLAIN = {"name": "sgd", "weight_decay": 0.0}


@dataclass(frozen=True)
class Contestant:
    """One way to train.

    Attributes:
        optimizer: its section, as in params.yaml.
        centre: the learning rate in the middle of its grid.
        batch: ``mini``, ``full``, or rows.
    """

    optimizer: Mapping[str, Any]
    centre: float
    batch: str | int = "mini"

    def rates(self, count: int) -> list[float]:
        """So many learning rates around the centre, each √10 times the one before."""
        return [self.centre * 10 ** ((place - count // 2) / 2) for place in range(count)]


CONTESTANTS: Mapping[str, Contestant] = {
    "full batch": Contestant(_PLAIN, 1.0, batch="full"),
    "batch 1": Contestant(_PLAIN, 0.03, batch=1),
    "sgd": Contestant(_PLAIN, 0.3),
    "momentum": Contestant({"name": "momentum", "momentum": 0.9, "weight_decay": 0.0}, 0.1),
    "nesterov": Contestant({"name": "nesterov", "momentum": 0.9, "weight_decay": 0.0}, 0.1),
    "rmsprop": Contestant(
        {"name": "rmsprop", "beta": 0.98, "epsilon": 1e-8, "weight_decay": 0.0}, 2e-3
    ),
    "adagrad": Contestant({"name": "adagrad", "epsilon": 1e-8, "weight_decay": 0.0}, 2e-2),
    "adam": Contestant({"name": "adam", **_ADAM}, 3e-3),
    "adam uncorrected": Contestant({"name": "adamw", **_ADAM, "bias_correction": False}, 3e-3),
    "adamw": Contestant({"name": "adamw", **_ADAMW, "bias_correction": True}, 3e-3),
    "lamb": Contestant({"name": "lamb", **_ADAMW, "bias_correction": True}, 1e-2),
    "muon": Contestant({"name": "muon", "momentum": 0.95, **_ADAMW}, 3e-3),
    "adafactor": Contestant({"name": "adafactor", "weight_decay": 0.0}, 3e-2),
}
