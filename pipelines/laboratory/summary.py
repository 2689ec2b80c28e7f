"""What a comparison of optimizers comes to."""

import statistics
from collections.abc import Sequence
from typing import Any

Results = list[dict[str, Any]]
_NEAR = 1.05  # of the best loss: a learning rate that reaches it lies in the valley


def by_rate(results: Sequence[dict[str, Any]], name: str) -> dict[float, list[float]]:
    """Learning rate → losses of all seeds, of one contestant; divergence is infinite."""
    rates: dict[float, list[float]] = {}
    for result in results:
        if result["contestant"] == name:
            rates.setdefault(result["rate"], []).append(float(result["loss"]))
    return dict(sorted(rates.items()))


def best_rate(results: Sequence[dict[str, Any]], name: str) -> tuple[float, float]:
    """The learning rate of the lowest median loss, and that loss."""
    medians = {rate: statistics.median(losses) for rate, losses in by_rate(results, name).items()}
    rate = min(medians, key=lambda one: medians[one])
    return rate, medians[rate]


def names_of(results: Sequence[dict[str, Any]]) -> list[str]:
    """Contestants in their order."""
    return list(dict.fromkeys(result["contestant"] for result in results))


def best_of(results: Sequence[dict[str, Any]], count: int) -> list[str]:
    """So many contestants of the lowest loss, each at its best rate, that take mini-batches."""
    names = [name for name in names_of(results) if name not in ("full batch", "batch 1")]
    return sorted(names, key=lambda name: best_rate(results, name)[1])[:count]


def valley(results: Sequence[dict[str, Any]], name: str) -> float:
    """How wide a contestant's valley of learning rates is, in factors of ten: rates whose median
    loss is within 5 % of its best one, each counting for half a decade of the grid.
    """
    best = best_rate(results, name)[1]
    near = [
        rate
        for rate, losses in by_rate(results, name).items()
        if statistics.median(losses) <= _NEAR * best
    ]
    return 0.5 * len(near)


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line a contestant, the best first; fits 80 columns."""
    head = f"{'':17}{'batch':>6}{'updates':>9}{'rate':>9}{'loss':>8}{'± seeds':>9}{'valley':>8}"
    lines = [f"{results[0]['model']}: {results[0]['rows']:,} rows each", head + f"{'seconds':>9}"]
    for name in sorted(names_of(results), key=lambda one: best_rate(results, one)[1]):
        rate, loss = best_rate(results, name)
        runs = [r for r in results if r["contestant"] == name and r["rate"] == rate]
        losses = [float(run["loss"]) for run in runs]
        seconds = statistics.median(run["seconds"] for run in runs)
        lines.append(
            f"{name:17}{runs[0]['batch']:6,}{runs[0]['updates']:9,}{rate:9.2g}{loss:8.3f}"
            f"{(max(losses) - min(losses)) / 2:9.3f}{valley(results, name):8.1f}{seconds:9.1f}"
        )
    return "\n".join([*lines, "valley: decades of learning rates within 5 % of the best loss"])
