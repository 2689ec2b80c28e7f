"""Curves for ``dvc plots``: a folder per quantity, a file per model, a quantity's name in each row.

DVC draws one picture per file of a declared folder; it cannot draw rows of different keys, as a
training records them, nor files of models that are not in params.yaml.
"""

from collections.abc import Sequence
from pathlib import Path

from pipelines.frame.files import write_json
from pipelines.report.results import curves


def write_curves(architectures: Sequence[str], folder: Path) -> None:
    """``<quantity>/<model>.json`` below ``folder``: rows of ``step``, in updates, and the quantity.

    Quantities of single layers stay in the models' own ``curves.json``.
    """
    outs = {"bert": "bert", **{name: f"seq2seq/{name}" for name in architectures}}
    for model, out in outs.items():
        series: dict[str, list[dict[str, float]]] = {}
        for point in curves(out):
            for quantity, value in point.items():
                if quantity != "step" and "/" not in quantity:
                    series.setdefault(quantity, []).append({"step": point["step"], quantity: value})
        for quantity, rows in series.items():
            (folder / quantity).mkdir(parents=True, exist_ok=True)
            write_json(folder / quantity / f"{model}.json", rows)
