"""How pictures of the report look: SVG, the same bytes for the same numbers, colours that
colour-blind people tell apart, labels at the lines' ends rather than legends over them.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito 2008, without its black, which is the text's, and its yellow, too light for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", ":", "-.")
_SETTINGS: Any = {
    "svg.hashsalt": "maskline",
    "svg.fonttype": "none",  # text stays text: for screen readers, and in the page's colour
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "font.size": 10,
}
_APART = 0.055  # share of the height between two labels


def colour(number: int) -> str:
    """Of the line with a number, from 0."""
    return COLOURS[number % len(COLOURS)]


def dash(number: int) -> str:
    """Of the line with a number: lines whose colours come again have another."""
    return _DASHES[number // len(COLOURS) % len(_DASHES)]


def new_figure(
    parts: int = 1, *, width: float = 6.4, height: float = 3.6
) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = pyplot.subplots(1, parts, figsize=(width * parts, height), squeeze=False)
    return figure, list(axes[0])


def label_ends(axes: Axes) -> None:
    """The name of each line at its right end behind a piece of it, moved apart where ends are
    close.
    """
    axes.autoscale_view()  # a horizontal line within the limits has not moved them yet
    whole: Any = axes.figure  # which places the ends
    whole.draw_without_rendering()
    ends = []
    for line in axes.get_lines():
        places: Any = line.get_xydata()
        name = str(line.get_label())
        if len(places) and not name.startswith("_"):
            place = axes.transData.transform(places[-1])
            height = float(axes.transAxes.inverted().transform(place)[1])
            ends.append((height, name, line))
    floor = -1.0
    for height, name, line in sorted(ends, key=lambda end: end[:2]):
        floor = max(min(height, 1.0), floor + _APART)
        axes.plot(
            [1.012, 1.045],
            [floor, floor],
            color=line.get_color(),
            linestyle=line.get_linestyle(),
            transform=axes.transAxes,
            clip_on=False,
            label="_",
        )
        axes.text(1.055, floor, name, transform=axes.transAxes, va="center", fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """Write a picture, and close it."""
    with mpl.rc_context(_SETTINGS):
        figure.savefig(
            path, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None}
        )
    pyplot.close(figure)
