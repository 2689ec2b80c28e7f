"""Knobs of optimization that every trained stage has."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from pipelines.frame.params_reader import Section

Decay = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(ge=0, le=1)]
Updates = Annotated[int, Field(ge=0)]


class Sgd(Section):
    """Stochastic gradient descent; ``batch_size`` decides whether stochastic,
    mini-batch or full.
    """

    name: Literal["sgd"]
    weight_decay: Decay


class Momentum(Section):
    """SGD with heavy-ball (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013)."""

    name: Literal["momentum", "nesterov"]
    momentum: Beta
    weight_decay: Decay


class RmsProp(Section):
    """Tieleman & Hinton 2012, lecture 6.5; ``beta`` smooths the squared gradients."""

    name: Literal["rmsprop"]
    beta: Beta
    epsilon: PositiveFloat
    weight_decay: Decay


class Adagrad(Section):
    """AdaGrad (Duchi et al. 2011): each weight's rate falls with its squared gradients' sum."""

    name: Literal["adagrad"]
    epsilon: PositiveFloat
    weight_decay: Decay


class Adafactor(Section):
    """Shazeer & Stern 2018, as PyTorch has it: of squared gradients it keeps the means of rows and
    columns alone, and steps are a share of the weights' size.
    """

    name: Literal["adafactor"]
    weight_decay: Decay


class Adam(Section):
    """Kingma & Ba 2015; weight decay as an L2 term of the gradient."""

    name: Literal["adam"]
    beta1: Beta
    beta2: Beta
    epsilon: PositiveFloat
    weight_decay: Decay


class AdamW(Section):
    """Loshchilov & Hutter 2019; without bias correction it is
    the optimizer of google-research/bert.
    """

    name: Literal["adamw"]
    beta1: Beta
    beta2: Beta
    epsilon: PositiveFloat
    bias_correction: bool
    weight_decay: Decay


class Lamb(Section):
    """You et al. 2020, algorithm 2: AdamW with a trust ratio per tensor, for very large batches."""

    name: Literal["lamb"]
    beta1: Beta
    beta2: Beta
    epsilon: PositiveFloat
    bias_correction: bool
    weight_decay: Decay


class Muon(Section):
    """Jordan et al. 2024 on the matrices of the blocks, AdamW on everything else,
    one learning rate for both.

    The matrices' steps are scaled to AdamW's size (Liu et al. 2025, section 2.2).
    """

    name: Literal["muon"]
    momentum: Beta
    beta1: Beta
    beta2: Beta
    epsilon: PositiveFloat
    weight_decay: Decay


Optimizer = Annotated[
    Sgd | Momentum | RmsProp | Adagrad | Adafactor | Adam | AdamW | Lamb | Muon,
    Field(discriminator="name"),
]


class PlainSchedule(Section):
    """No end in sight: ``constant``, or falling with √(warmup / update)
    (Vaswani et al. 2017, equation 3).
    """

    name: Literal["constant", "inverse_square_root"]
    warmup_updates: Updates


class Descent(Section):
    """Falls from the peak to ``final_factor`` of it at the last update,
    on a line or half a cosine.
    """

    name: Literal["linear", "cosine"]
    warmup_updates: Updates
    final_factor: Factor


class OneCycle(Section):
    """Smith & Topin 2018: up and down on half cosines, as in
    ``torch.optim.lr_scheduler.OneCycleLR``.
    """

    name: Literal["one_cycle"]
    warmup_updates: Updates
    initial_factor: Factor
    final_factor: Factor


class WarmupStableDecay(Section):
    """Constant after the warm-up, then down by 1 − √share over the last updates
    (Hägele et al. 2024).
    """

    name: Literal["warmup_stable_decay"]
    warmup_updates: Updates
    decay_updates: Annotated[int, Field(ge=1)]
    final_factor: Factor


Schedule = Annotated[
    PlainSchedule | Descent | OneCycle | WarmupStableDecay, Field(discriminator="name")
]


class OptimizationParams(Section):
    """How weights are updated, apart from the learning rate and the number of updates.

    Attributes:
        select: weights after the last update, or of the best validation.
        average: as many validations, the last or the best, give the mean of their weights.
        patience: training ends after as many validations without a better one.
        snapshots: updates after which the weights are kept for the diagnosis.
    """

    optimizer: Optimizer
    schedule: Schedule
    gradient_clip: PositiveFloat | Literal["none"]
    precision: Literal["32-true", "bf16-mixed"]
    select: Literal["last", "best"]
    average: int = Field(ge=1)
    patience: Annotated[int, Field(ge=1)] | Literal["none"]
    validate_every: int = Field(ge=1)
    log_every: int = Field(ge=1)
    snapshots: list[Annotated[int, Field(ge=1)]]

    @model_validator(mode="after")
    def _patience_has_a_measure(self) -> "OptimizationParams":
        if self.patience != "none" and self.select == "last":
            raise ValueError(
                f"patience ({self.patience}) must be none where select is last; set select: best"
            )
        return self
