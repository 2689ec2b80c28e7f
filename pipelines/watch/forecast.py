"""Whether a training is about to diverge, from its losses and gradient norms alone.

A training that diverges shows it in its gradients first: their norm rises above what it was, and
the loss with it, while it is still small. Both are held against the forty updates before, so that
the rule knows no scale. docs/diagnosis.md has how often it is right, and how it was chosen.
"""

import math
from collections import deque
from statistics import median

NOW, BEFORE = 4, 40  # updates that are looked at, and those they are held against
_NORM = math.log(1.5)  # the norm's rise that counts, and that of the loss
_LOSS = math.log(1.1)
_ADAPTIVE = math.log(7.5)  # an optimizer that divides by the gradient's size bears more of it
_SPIKE = 8.0  # deviations of the loss above its median
_LEAST = 0.01  # deviation that is assumed at least, relative


class Forecast:
    """Looks at one update after the other.

    Args:
        adaptive: the optimizer divides by the gradients' size (Adam, RMSProp, AdaGrad, LAMB, Muon).

    Attributes:
        flagged: the update at which divergence was first foreseen; 0 for none.
        spikes: updates whose loss stood far above those before.
    """

    def __init__(self, *, adaptive: bool) -> None:
        self.flagged = 0
        self.spikes: list[int] = []
        self._rise = _ADAPTIVE if adaptive else _NORM
        self._losses: deque[float] = deque(maxlen=BEFORE + NOW)
        self._norms: deque[float] = deque(maxlen=BEFORE + NOW)

    def add(self, update: int, loss: float, norm: float) -> str:
        """One more update; what a user should be told of it, once, else nothing."""
        if self._spikes(loss):
            self.spikes.append(update)
        self._losses.append(_log(loss))
        self._norms.append(_log(norm))
        if self.flagged or len(self._losses) < BEFORE // 2 + NOW:
            return ""
        (norms, higher), (losses, dearer) = _apart(self._norms), _apart(self._losses)
        broken = not (math.isfinite(loss) and math.isfinite(norm))
        rises = norms > max(self._rise, higher) and losses > max(_LOSS, dearer)
        if not (broken or rises):
            return ""
        self.flagged = update
        return (
            f"update {update}: it is about to diverge: in {NOW} updates gradients grew "
            f"{_times(norms)}, the loss {_times(losses)}; lower learning_rate, warm up longer, or "
            "set gradient_clip (docs/diagnosis.md)"
        )

    def _spikes(self, loss: float) -> bool:
        """Whether a loss stands out of those before."""
        before = list(self._losses)[-BEFORE:]
        if len(before) < BEFORE // 2:
            return False
        middle = median(before)
        deviation = 1.48 * median(abs(value - middle) for value in before)
        return _log(loss) > middle + _SPIKE * max(deviation, _LEAST)


def _apart(logs: deque[float]) -> tuple[float, float]:
    """How far the last ones lie above those before, and how far those are apart themselves."""
    numbers = list(logs)
    before, now = numbers[:-NOW], numbers[-NOW:]
    middle = median(before)
    deviation = 1.48 * median(abs(value - middle) for value in before)
    return median(now) - middle, deviation


def _log(value: float) -> float:
    """Natural logarithm of a positive number; huge for what is not finite."""
    return math.log(min(max(value, 1e-30), 1e30)) if math.isfinite(value) else math.log(1e30)


def _times(log: float) -> str:
    return f"{math.exp(min(log, 60.0)):.1f} times"
