"""Learning-rate schedules: update → factor of the peak rate. Pure functions."""

import math

from pipelines.optim.params import Descent, OneCycle, Schedule, WarmupStableDecay


def factor(schedule: Schedule, update: int, *, total: int) -> float:
    """The factor for update number ``update`` (from 0) of ``total``.

    All but ``one_cycle`` warm up on a line from 1/warmup_updates to 1.
    """
    warmup = schedule.warmup_updates
    if isinstance(schedule, OneCycle):
        return _one_cycle(schedule, update, total)
    if update < warmup:
        return (update + 1) / warmup
    if isinstance(schedule, Descent):
        done = min(1.0, (update - warmup) / max(1, total - warmup))
        shape = 1.0 - done if schedule.name == "linear" else _half_cosine(done)
        return schedule.final_factor + (1.0 - schedule.final_factor) * shape
    if isinstance(schedule, WarmupStableDecay):
        done = min(1.0, max(0, update - (total - schedule.decay_updates)) / schedule.decay_updates)
        return schedule.final_factor + (1.0 - schedule.final_factor) * (1.0 - math.sqrt(done))
    if schedule.name == "inverse_square_root":
        return math.sqrt(max(1, warmup) / max(1, update + 1))
    return 1.0


def _one_cycle(schedule: OneCycle, update: int, total: int) -> float:
    peak = max(1, schedule.warmup_updates)
    if update <= peak:
        return 1.0 - (1.0 - schedule.initial_factor) * _half_cosine(update / peak)
    done = min(1.0, (update - peak) / max(1, total - 1 - peak))
    return schedule.final_factor + (1.0 - schedule.final_factor) * _half_cosine(done)


def _half_cosine(done: float) -> float:
    """From 1 at ``done`` 0 to 0 at 1."""
    return (1.0 + math.cos(math.pi * done)) / 2.0
