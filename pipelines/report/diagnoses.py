"""What the diagnosis found, for the report: a table, verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report.markdown import markdown_table
from pipelines.report.results import DATA, read_json

Diagnoses = Mapping[str, Mapping[str, Any]]
_PICTURES = {
    "spectrum.svg": "Density of the Hessian's eigenvalues",
    "layers.svg": "Gradient and update of each layer",
    "lines.svg": "Loss on straight lines between checkpoints",
    "surroundings.svg": "Loss around the trained weights",
    "way.svg": "Loss along the training's way",
}


def read_diagnoses(names: Sequence[str]) -> Diagnoses:
    """Model → its diagnosis.

    Raises:
        DataError: the stage has not run.
    """
    return {name: read_json(DATA / "diagnosis" / name / "diagnosis.json") for name in names}


def pictures_of(name: str) -> dict[str, str]:
    """File → title of the pictures there are of a model."""
    folder = DATA / "diagnosis" / name
    return {file: title for file, title in _PICTURES.items() if (folder / file).is_file()}


def diagnosis_table(diagnoses: Diagnoses) -> list[list[str]]:
    """One row a model: loss, sharpness, kind of point, noise."""
    header = ["model", "update", "loss", "sharpness", "negative", "point", "noise ÷ batch"]
    rows = []
    for name, found in diagnoses.items():
        noise = found["noise"]
        scale = noise["scale"]
        share = "∞" if isinstance(scale, str) else f"{scale / noise['rows']:.2g}"
        rows.append(
            [
                name,
                f"{found['update']:,}",
                f"{found['loss']:.3f}",
                f"{found['eigenvalues']['largest'][0]:.3g}",
                f"{100 * found['spectrum']['negative_share']:.0f} %",
                found["point"]["kind"],
                share,
            ]
        )
    return [header, *rows]


def verdict_sentences(diagnoses: Diagnoses) -> list[str]:
    """Every finding, by model; that there is none is worth a sentence."""
    said = [
        f"{name}: {verdict['words']}"
        for name, found in diagnoses.items()
        for verdict in found["verdicts"]
    ]
    return said or ["Nothing stands out in any model."]


def diagnosis_markdown(diagnoses: Diagnoses) -> str:
    """Table and verdicts, for ``tables.md``."""
    sentences = "\n".join(f"- {sentence}" for sentence in verdict_sentences(diagnoses))
    return f"\n## Why it learns\n\n{markdown_table(diagnosis_table(diagnoses))}\n\n{sentences}\n"
