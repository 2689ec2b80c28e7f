"""Pictures of a comparison of optimizers."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from pipelines.laboratory.contestants import CONTESTANTS
from pipelines.laboratory.functions import FUNCTIONS, trajectory
from pipelines.laboratory.summary import Results, best_rate, by_rate, names_of
from pipelines.optim.params import Optimizer

mpl.rcParams["svg.hashsalt"] = "maskline"
_COLOURS = mpl.colormaps["tab20"].colors[::2] + mpl.colormaps["tab20"].colors[1::2]  # type: ignore[attr-defined]
_DRAWN = {"sgd": 0.03, "momentum": 0.01, "nesterov": 0.01, "rmsprop": 0.03, "adam": 0.1}
_ON_ROSENBROCK = {"sgd": 1e-3, "momentum": 3e-4, "nesterov": 3e-4, "rmsprop": 0.01, "adam": 0.03}


def draw_all(models: Mapping[str, Results], noise: Mapping[int, float], folder: Path) -> list[Path]:
    """Write every picture; their paths."""
    drawn = [
        _save(_trajectories(), folder / "trajectories.svg"),
        _save(_noise(noise), folder / "noise.svg"),
    ]
    for model, results in models.items():
        if results:
            drawn.append(_save(_curves(results), folder / f"{model}_curves.svg"))
            drawn.append(_save(_sensitivity(results), folder / f"{model}_rates.svg"))
    return drawn


def _curves(results: Results) -> Figure:
    """Loss by update, by row and by second, each contestant at its best rate."""
    figure, panes = pyplot.subplots(1, 3, figsize=(14, 4.5), sharey=True)
    axes_of = {"update": "update", "rows": "row", "seconds": "second (one core)"}
    for axes, (key, label) in zip(panes, axes_of.items(), strict=True):
        axes.set_prop_cycle(color=_COLOURS)
        for name in names_of(results):
            rate, _ = best_rate(results, name)
            run = next(r for r in results if r["contestant"] == name and r["rate"] == rate)
            points = run["points"][1:]
            axes.plot([p[key] for p in points], [p["loss"] for p in points], label=name)
        axes.set(xlabel=label, xscale="log" if key != "rows" else "linear")
        axes.grid(alpha=0.3)
    panes[0].set_ylabel("held-out loss")
    panes[2].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _sensitivity(results: Results) -> Figure:
    """Loss after the last update by learning rate: how wide the valley of each is."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    axes.set_prop_cycle(color=_COLOURS)
    for name in names_of(results):
        rates = by_rate(results, name)
        middle = [float(np.median(losses)) for losses in rates.values()]
        finite = [value if np.isfinite(value) else np.nan for value in middle]
        axes.plot(list(rates), finite, "o-", markersize=4, label=name)
    axes.set(xscale="log", xlabel="learning rate", ylabel="held-out loss, median of seeds")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    return figure


def _noise(noise: Mapping[int, float]) -> Figure:
    """How far gradients of a batch lie from the mean, by its rows; dotted: one over the rows."""
    figure, axes = pyplot.subplots(figsize=(6, 4))
    rows = list(noise)
    axes.loglog(rows, list(noise.values()), "o-", label="measured")
    axes.loglog(rows, [noise[rows[0]] / size for size in rows], ":", color="grey", label="1 / rows")
    axes.set(xlabel="rows of a batch", ylabel="variance of the gradient, by its mean squared")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _trajectories() -> Figure:
    """The ways of five optimizers on each function."""
    figure, panes = pyplot.subplots(2, 2, figsize=(11, 9))
    for axes, (name, function) in zip(panes.flat, FUNCTIONS.items(), strict=True):
        left, right, bottom, top = function.sides
        x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
        heights = function.of(torch.from_numpy(x), torch.from_numpy(y)).numpy()
        shown = np.log1p(heights) if name == "rosenbrock" else heights
        axes.contour(x, y, shown, levels=25, cmap="Greys", linewidths=0.6)
        for optimizer, rate in (_ON_ROSENBROCK if name == "rosenbrock" else _DRAWN).items():
            section: Optimizer = TypeAdapter(Optimizer).validate_python(
                dict(CONTESTANTS[optimizer].optimizer)
            )
            places = trajectory(function, section, rate, 400 if name == "rosenbrock" else 80)
            axes.plot(*zip(*places, strict=True), "-", linewidth=1.2, label=optimizer)
        axes.plot(*function.start, "ko", markersize=4)
        axes.set(xlim=(left, right), ylim=(bottom, top), title=name)
    panes[0, 0].legend(fontsize=8)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
