"""How well a training learns, watched while it runs: nothing that is learnt depends on it.

Every update its loss and gradient norm, which a `Forecast` looks at, and whether the loss is a
spike. At some updates the step it takes is looked at closer: how far along it the loss would fall
(`critical_step`), how long it is beside the weights, and, where there are micro-batches, how noisy
gradients are. All of it goes to ``learning.jsonl`` in the run folder, never into an out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipelines.frame.records import Records
from pipelines.watch.forecast import Forecast

Watching = Literal["cheap", "full"]
_READ_EVERY = 10  # updates between readings of the device
_MOST = 1e4  # steps beyond which none is sought: the loss is flat along the update


@dataclass(frozen=True)
class How:
    """What a mode does.

    Attributes:
        every: updates between closer looks.
        share: of a micro-batch's rows that a closer look runs forward.
    """

    every: int
    share: float


_MODES: dict[Watching, How] = {"cheap": How(100, 0.125), "full": How(10, 1.0)}


class Learning:
    """Watches one training, on its first rank.

    Args:
        records: where it writes.
        mode: cheap (under 2 % of the time) or full.
        done: updates before this start; records of later ones are dropped, those of earlier ones
            are gone through again, so that a resumed training is watched as if it had not stopped.
        warn: is told what a user should know, at once.
        adaptive: see `Forecast`.
    """

    def __init__(
        self,
        records: Records,
        mode: Watching,
        done: int,
        warn: Callable[[str], None],
        *,
        adaptive: bool,
    ) -> None:
        self._records, self._warn = records, warn
        self._how = _MODES[mode]
        self._waiting: list[tuple[int, Tensor, Tensor]] = []
        self._looks: dict[int, dict[str, float]] = {}
        self._before: list[Tensor] | None = None
        self._small: Tensor | None = None
        self._guess = 2.0
        self.forecast = Forecast(adaptive=adaptive)
        records.rewind(done)
        for record in records.read():
            self._guess = record.get("critical_step", self._guess)
            self.forecast.add(record["step"], float(record["loss"]), float(record["gradient_norm"]))

    def looks(self, update: int) -> bool:
        """Whether a closer look is due at this update (from 1)."""
        return update % self._how.every == 0 or update == 1

    def first_part(self, weights: Sequence[Tensor]) -> None:
        """After the first of several micro-batches: its gradient is compared with the whole's."""
        parts = [weight.grad for weight in weights if weight.grad is not None]
        self._small = torch.stack(torch._foreach_norm(parts)).square().sum()

    def before(self, weights: Sequence[Tensor]) -> None:
        """Before the step of an update that is looked at."""
        self._before = [weight.detach().clone() for weight in weights]

    def after(self, update: int, loss: Tensor, norm: Tensor) -> None:
        """After any update.

        Args:
            update: its number, from 1.
            loss: of its batch.
            norm: of its gradient, before it was clipped.
        """
        self._waiting.append((update, loss, norm))
        if len(self._waiting) >= _READ_EVERY:
            self.flush()

    def look(
        self,
        update: int,
        named: Sequence[tuple[str, Tensor]],
        loss_of: Callable[[float], float],
        parts: tuple[int, Tensor] | None,
        *,
        rate: float,
    ) -> None:
        """Look at the step just taken.

        Args:
            update: its number, from 1.
            named: names and weights, after the step.
            loss_of: share of the micro-batch's rows → its loss with the weights as they are.
            parts: number of micro-batches and the norm of the whole gradient, where there are
                several.
            rate: η, the learning rate of the step.
        """
        assert self._before is not None
        share = self._how.share
        ends = [weight.detach().clone() for _, weight in named]
        tensors = [weight for _, weight in named]
        with torch.no_grad(), _put_back(tensors, ends):

            def at(place: float) -> float:
                for weight, start, end in zip(tensors, self._before or (), ends, strict=True):
                    torch.lerp(start, end, place, out=weight)
                return loss_of(share)

            critical = critical_step(at, self._guess)
        found = {}
        if math.isfinite(critical):
            self._guess = critical
            found = {"critical_step": critical, "critical_sharpness": 2 / (critical * rate)}
        found |= ratios(named, self._before)
        if parts and self._small is not None:
            number, norm = parts
            noise = noise_scale(float(self._small), float(norm) ** 2, number)
            found["noise_in_micro_batches"] = noise
        self._looks[update], self._before, self._small = found, None, None

    def flush(self) -> None:
        """Write what is waiting; the device is waited for once."""
        if not self._waiting:
            return
        numbers = torch.stack(
            [
                torch.stack((loss.detach().double(), norm.double()))
                for _, loss, norm in self._waiting
            ]
        ).tolist()
        for (update, _, _), (loss, norm) in zip(self._waiting, numbers, strict=True):
            record = {"step": update, "loss": loss, "gradient_norm": norm}
            said = self.forecast.add(update, loss, norm)
            spike = {"spike": True} if update in self.forecast.spikes else {}
            self._records.append({**record, **spike, **self._looks.pop(update, {})})
            if said:
                self._warn(said)
        self._waiting = []


@contextmanager
def _put_back(weights: Sequence[Tensor], ends: Sequence[Tensor]) -> Iterator[None]:
    """The weights are bit for bit what they were, whatever happens within."""
    try:
        yield
    finally:
        for weight, end in zip(weights, ends, strict=True):
            weight.copy_(end)


def critical_step(loss_at: Callable[[float], float], guess: float, *, passes: int = 6) -> float:
    """The smallest multiple of the step taken at which the loss is what it was before it: 2 where
    the step goes to the minimum of a parabola, below 1 where the step itself raises the loss.

    Critical sharpness (arXiv 2601.16979, section 3) is 2 / (this · η).

    >>> round(critical_step(lambda s: (1 - s) ** 2, 4.0), 2)
    2.0

    Args:
        loss_at: multiple → loss.
        guess: where it lay before.
        passes: evaluations besides that at 0; the last ones halve the bracket.

    Returns:
        Infinite where the loss never rises within 1e4 steps.
    """
    start = loss_at(0.0)
    below, above = 0.0, math.inf
    place, heights = max(guess, 1e-3), {0.0: 0.0}
    for _ in range(passes):
        height = loss_at(place) - start
        heights[place] = height
        if height > 0 or math.isnan(height):
            above = min(above, place)
        else:
            below = max(below, place)
        if below > _MOST:
            return math.inf
        place = _next(below, above)
    if not math.isfinite(above):
        return math.inf
    if below and math.isfinite(heights[above]) and heights[above] > heights[below]:
        share = -heights[below] / (heights[above] - heights[below])
        return below + share * (above - below)
    return above


def _next(below: float, above: float) -> float:
    if not math.isfinite(above):
        return 4 * below
    return math.sqrt(below * above) if below else above / 4


@torch.no_grad()
def ratios(named: Sequence[tuple[str, Tensor]], before: Sequence[Tensor]) -> dict[str, float]:
    """``update_ratio/NAME`` → length of a step over that of the weights; ``update_ratio`` of all.

    Biases and norms start at 0 or 1 and say little: matrices alone are told one by one.
    """
    pairs = [(end - start, start) for (_, end), start in zip(named, before, strict=True)]
    norms = torch.stack([torch.stack((step.norm(), old.norm())) for step, old in pairs])
    whole = norms.double().square().sum(dim=0).sqrt()
    values = (norms[:, 0] / norms[:, 1].clamp(min=1e-12)).tolist()
    told = {
        f"update_ratio/{name}": value
        for (name, weight), value in zip(named, values, strict=True)
        if weight.dim() > 1
    }
    return {"update_ratio": float(whole[0] / whole[1].clamp(min=1e-12)), **told}


def noise_scale(small: float, whole: float, parts: int) -> float:
    """tr(Σ) / |G|² in micro-batches (McCandlish et al. 2018, appendix A.1), of one update: noisy by
    itself, to be averaged.

    Args:
        small: squared norm of the first micro-batch's share of the gradient, 1 / ``parts`` of its
            own.
        whole: squared norm of the whole gradient.
        parts: micro-batches.
    """
    one = small * parts**2
    signal = (parts * whole - one) / (parts - 1)
    variance = (one - whole) * parts / (parts - 1)
    return variance / signal if signal > 0 else math.inf
