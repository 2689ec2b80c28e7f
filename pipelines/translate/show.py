"""A search for eyes: the beam as a tree, attention as a heat map; on a terminal, as a picture,
as a page.

Shapes: W rows of the beam, S source length, T tokens of a hypothesis.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor

from pipelines.looks.beam_tree import BeamNode, in_order, tree_lines

_SHADES = " ░▒▓█"


def attention_lines(
    attention_TS: Tensor, source: Sequence[str], target: Sequence[str]
) -> list[str]:
    """A heat map of blocks, darker for more: a line per target token, a column per source token."""
    width = max(map(len, target))
    lines = []
    for name, weights in zip(target, attention_TS.tolist(), strict=True):
        cells = "".join(
            2 * _SHADES[min(len(_SHADES) - 1, int(weight * len(_SHADES)))] for weight in weights
        )
        lines.append(f"{name:>{width}} │{cells}│")
    for row in range(max(map(len, source))):
        letters = "".join(f"{token[row] if row < len(token) else ' '} " for token in source)
        lines.append(f"{'':>{width}}  {letters}".rstrip())
    return lines


def write_picture(
    path: Path,
    root: BeamNode,
    attention_TS: Tensor | None,
    source: Sequence[str],
    target: Sequence[str],
) -> None:
    """A ``.png`` or ``.html`` file with the tree and, where there is one, the heat map."""
    if path.suffix == ".html":
        path.write_text(_page(root, attention_TS, source, target), encoding="utf-8")
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    lines = tree_lines(root)
    parts = 1 if attention_TS is None else 2
    figure, axes = pyplot.subplots(
        1,
        parts,
        figsize=(7 * parts, max(4, 0.19 * len(lines))),
        squeeze=False,
        layout="constrained",
    )
    axes[0, 0].axis("off")
    axes[0, 0].text(
        0,
        1,
        "\n".join(lines),
        family="monospace",
        fontsize=8,
        va="top",
        transform=axes[0, 0].transAxes,
    )
    if attention_TS is not None:
        axes[0, 1].imshow(attention_TS.numpy(), cmap="Blues", vmin=0, vmax=1)
        axes[0, 1].set_xticks(range(len(source)), source, rotation=90)
        axes[0, 1].set_yticks(range(len(target)), target)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _page(
    root: BeamNode, attention_TS: Tensor | None, source: Sequence[str], target: Sequence[str]
) -> str:
    """The tree and the heat map as a page that needs nothing else."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=True,
    )
    rows = [] if attention_TS is None else list(zip(target, attention_TS.tolist(), strict=True))
    return templates.get_template("beam.html.jinja").render(
        children_of=in_order,
        root=root,
        source=source,
        rows=rows,
        exp=math.exp,
    )
