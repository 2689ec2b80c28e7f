"""Pictures of one diagnosis, the same bytes for the same numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.typing import NDArray

mpl.rcParams["svg.hashsalt"] = "maskline"
_SIZE = (6.0, 3.5)
Found = Mapping[str, Any]
Array = NDArray[np.float64]


def draw(found: Found, folder: Path) -> list[str]:
    """Write every picture there is something for; their names."""
    drawn = []
    for name, picture in _PICTURES.items():
        figure = picture(found)
        if figure is not None:
            figure.tight_layout()
            figure.savefig(folder / name, metadata={"Date": None})
            pyplot.close(figure)
            drawn.append(name)
    return drawn


def _spectrum(found: Found) -> Figure:
    """Density of the Hessian's eigenvalues beside that of the Gauss-Newton matrix."""
    figure, axes = pyplot.subplots(figsize=_SIZE)
    for key, label, colour in (
        ("spectrum", "Hessian", "tab:blue"),
        ("gauss_newton", "Gauss-Newton", "tab:orange"),
    ):
        values, weights = np.array(found[key]["values"]), np.array(found[key]["weights"])
        low, high = values.min(), values.max()
        places = np.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), 400)
        width = max(0.01 * (high - low), 1e-12)
        density = smoothed(values, weights, places, width)
        axes.semilogy(places, np.maximum(density, 1e-12), color=colour, label=label)
    axes.axvline(found["eigenvalues"]["largest"][0], color="grey", linewidth=1, linestyle=":")
    axes.set(xlabel="eigenvalue", ylabel="density", ylim=(1e-8, None), title=found["section"])
    axes.legend(fontsize=8)
    return figure


def smoothed(values: Array, weights: Array, places: Array, width: float) -> Array:
    """Density at some places of points with weights, each spread to a normal distribution."""
    bumps = np.exp(-0.5 * ((places[:, None] - values) / width) ** 2)
    density: Array = bumps @ weights / (width * np.sqrt(2 * np.pi))
    return density


def _layers(found: Found) -> Figure:
    """Length of the gradient and, where it is known, of an update beside the weights, layer by
    layer.
    """
    layers = found["layers"]
    known = any(layer["ratio"] for layer in layers.values())
    titles = {"gradient": "gradient norm"} | ({"ratio": "update ÷ weights"} if known else {})
    height = 0.6 + 0.3 * max(5, len(layers))
    figure, panes = pyplot.subplots(
        1, len(titles), figsize=(1 + 4 * len(titles), height), sharey=True, squeeze=False
    )
    for axes, (key, title) in zip(panes[0], titles.items(), strict=True):
        values = [layer[key] or np.nan for layer in layers.values()]
        axes.barh(range(len(layers)), values, color="tab:blue")
        axes.set(xscale="log", xlabel=title)
    panes[0, 0].set_yticks(range(len(layers)), list(layers))
    panes[0, 0].invert_yaxis()
    return figure


def _lines(found: Found) -> Figure | None:
    """The loss on the way from the start by way of the snapshots."""
    if not found.get("lines"):
        return None
    figure, axes = pyplot.subplots(figsize=_SIZE)
    for part in found["lines"]:
        places = [part["from"] + place * (part["to"] - part["from"]) for place in part["places"]]
        axes.plot(places, part["losses"], "o-", markersize=3)
    axes.set(xlabel="update, on straight lines between checkpoints", ylabel="training loss")
    axes.grid(alpha=0.3)
    return figure


def _surroundings(found: Found) -> Figure | None:
    return _contours(found, "surroundings", "two random directions, filter-normalised, and the way")


def _way(found: Found) -> Figure | None:
    return _contours(found, "way", "principal directions of the way")


def _contours(found: Found, key: str, title: str) -> Figure | None:
    """The loss on a plane; where the training came from, if that lies on it."""
    if key not in found:
        return None
    plane = found[key]
    figure, axes = pyplot.subplots(figsize=(5, 4.2))
    losses = np.array(plane["losses"])
    shown = axes.contourf(plane["axis"], plane["axis"], losses, levels=20, cmap="viridis")
    figure.colorbar(shown, label="training loss")
    near = [point for point in plane["trajectory"] if max(map(abs, point)) <= 1]
    if near:  # of random directions next to nothing of the way lies in the plane
        title += f"; {min(plane['kept']):.0%} of its length lie in the plane"
        axes.plot(*zip(*[*near, [0.0, 0.0]], strict=True), "o-", color="white", markersize=4)
    axes.plot(0, 0, "*", color="tab:red", markersize=12)
    axes.set_title(title, fontsize=9)
    return figure


_PICTURES: dict[str, Callable[[Found], Figure | None]] = {
    "spectrum.svg": _spectrum,
    "layers.svg": _layers,
    "lines.svg": _lines,
    "surroundings.svg": _surroundings,
    "way.svg": _way,
}
