"""Optimizers by name, with weight decay where it belongs."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pipelines.optim import params as schemas
from pipelines.optim.lamb import Lamb


def build_optimizer(
    module: nn.Module,
    params: schemas.Optimizer,
    learning_rate: float,
    factors: Mapping[str, float] | None = None,
) -> Optimizer:
    """The optimizer of a section over a module's trainable parameters.

    A module may name its layers that score classes in ``heads``.

    Biases and norms, the parameters of one dimension, are not decayed (Devlin et al. 2019).

    Args:
        module: what is trained.
        params: name and settings.
        learning_rate: of every parameter not in ``factors``.
        factors: parameter name → factor of its learning rate.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    named = dict(module.named_parameters())
    rates = {id(named[name]): learning_rate * factor for name, factor in (factors or {}).items()}
    if isinstance(params, schemas.Muon):
        return _muon(module, trained, params, learning_rate, rates)
    groups = _groups(trained, params.weight_decay, learning_rate, rates)
    match params:
        case schemas.Sgd():
            return torch.optim.SGD(groups, lr=learning_rate)
        case schemas.Momentum():
            nesterov = params.name == "nesterov"
            return torch.optim.SGD(
                groups, lr=learning_rate, momentum=params.momentum, nesterov=nesterov
            )
        case schemas.RmsProp():
            return torch.optim.RMSprop(
                groups, lr=learning_rate, alpha=params.beta, eps=params.epsilon
            )
        case schemas.Adagrad():
            return torch.optim.Adagrad(groups, lr=learning_rate, eps=params.epsilon)
        case schemas.Adafactor():
            return torch.optim.Adafactor(groups, lr=learning_rate)
        case schemas.Adam():
            betas = (params.beta1, params.beta2)
            return torch.optim.Adam(
                groups, lr=learning_rate, betas=betas, eps=params.epsilon, fused=True
            )
        case schemas.AdamW(bias_correction=True):
            return _adamw(groups, params, learning_rate)
        case schemas.Lamb() | schemas.AdamW():  # without bias correction torch has none
            return _lamb(groups, params, learning_rate)


def _lamb(groups: Any, params: schemas.Lamb | schemas.AdamW, learning_rate: float) -> Optimizer:
    return Lamb(
        groups,
        learning_rate,
        betas=(params.beta1, params.beta2),
        epsilon=params.epsilon,
        bias_correction=params.bias_correction,
        trust_ratio=isinstance(params, schemas.Lamb),
    )


def _adamw(groups: Any, params: schemas.AdamW | schemas.Muon, learning_rate: float) -> Optimizer:
    betas = (params.beta1, params.beta2)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=params.epsilon, fused=True)


def _groups(
    parameters: Iterable[Tensor],
    weight_decay: float,
    learning_rate: float,
    rates: Mapping[int, float],
) -> list[dict[str, Any]]:
    """Parameters of one decay and one learning rate together; ``rates`` by id are exceptions."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for decayed in (True, False):
        for parameter in parameters:
            if (parameter.dim() > 1) == decayed:
                key = (weight_decay if decayed else 0.0, rates.get(id(parameter), learning_rate))
                groups.setdefault(key, []).append(parameter)
    return [
        {"params": found, "weight_decay": decay, "lr": rate}
        for (decay, rate), found in groups.items()
    ]


def _muon(
    module: nn.Module,
    trained: Iterable[Tensor],
    params: schemas.Muon,
    learning_rate: float,
    rates: Mapping[int, float],
) -> Optimizer:
    """Embeddings look rows up, the output layer shares them, ``module.heads`` score classes:
    none are for Muon.
    """
    heads = {id(module.get_submodule(name).weight) for name in getattr(module, "heads", ())}
    looked_up = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    hidden = {
        id(part.weight)
        for part in module.modules()
        if isinstance(part, nn.Linear) and id(part.weight) not in looked_up | heads
    }
    matrices = [parameter for parameter in trained if id(parameter) in hidden]
    rest = [parameter for parameter in trained if id(parameter) not in hidden]
    muon = torch.optim.Muon(
        _groups(matrices, params.weight_decay, learning_rate, rates),
        lr=learning_rate,
        momentum=params.momentum,
        weight_decay=params.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return MuonAndAdamW(
        muon,
        _adamw(_groups(rest, params.weight_decay, learning_rate, rates), params, learning_rate),
    )


class MuonAndAdamW(Optimizer):
    """Two optimizers over different parameters as one: one step, one state, one schedule.

    Attributes:
        parts: both.
    """

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        self.parts = (first, second)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """A schedule writes rates into ``param_groups``:
        let them be the parts' own dictionaries.
        """
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Both steps; a closure is run once, before them."""
        if closure is not None:
            with torch.enable_grad():
                closure()
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both optimizers."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states of both optimizers."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share()
