"""Learning-rate schedules: update → factor of the peak rate. Pure functions."""

import math


def factor(schedule: str, update: int, *, warmup: int, total: int) -> float:
    """The factor for update number ``update`` (from 0), after a linear warm-up from 1/warmup to 1.

    ``constant``: 1. ``linear``: falls to 0 at ``total``. ``inverse_square_root``: √(warmup / update)
    (Vaswani et al. 2017, equation 3, scaled to a peak of 1).

    Raises:
        ValueError: the schedule is unknown.
    """
    if update < warmup:
        return (update + 1) / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return max(0.0, (total - update) / max(1, total - warmup))
    if schedule == "inverse_square_root":
        return math.sqrt(max(1, warmup) / max(1, update + 1))
    raise ValueError(f"schedule ({schedule!r}) must be constant, linear or inverse_square_root")
