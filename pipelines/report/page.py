"""The report as one page that people pass on: ``python -m pipelines.report.page``, `make report`.

Not a stage: it draws ``report.html`` of what the stages wrote under ``data`` and of what their run
folders timed, so it can show what no out may hold: commit, hashes, seconds. It needs neither a
network nor any other file.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.frame.errors import exit_code
from pipelines.frame.files import write_text_whole
from pipelines.frame.params_reader import ParamsFile, read_params
from pipelines.report.diagnoses import (
    diagnosis_table,
    pictures_of,
    read_diagnoses,
    verdict_sentences,
)
from pipelines.report.examples import marked
from pipelines.report.graph import drawn, locked_stages, stages_table
from pipelines.report.results import DATA, Results, read_json, read_results
from pipelines.report.table import search_speeds, seconds_of
from pipelines.report.tables import (
    bert_table,
    comparison_sentences,
    scores_table,
    significance_table,
)

PAGE, REPORT = Path("report.html"), DATA / "report"
_SMALLEST = 0.8  # of a picture's own size
_PIXELS = 4 / 3  # of a point
# A figure, with its interval or unit; also that there is none.
_NUMBER = re.compile(r"([-+−]?[\d,]*\.?\d+(e[-+]?\d+)?( (%|±.*|s))?\*?)|–|∞|")


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Attributes:
        file: below ``data/report``.
        title: above it.
        seen: what is to be seen on it, in words, for those who do not see it.
    """

    file: str
    title: str
    seen: str


def page(params_file: ParamsFile) -> str:
    """The whole page.

    Raises:
        DataError: a stage has not run.
    """
    architectures = list(params_file.get("seq2seq.architectures"))
    results = read_results(architectures, list(params_file.get("ensembles")))
    diagnoses = read_diagnoses(list(params_file.get("diagnosis.models")))
    pictures = _pictures(results, architectures, list(diagnoses))
    stages = locked_stages()
    return (
        templates()
        .get_template("page.html.jinja")
        .render(
            asked=asked(params_file),
            results=results,
            findings=read_json(REPORT / "findings.json"),
            bert=bert_table(results),
            scores=_with_costs(scores_table(results), results),
            quality=_quality_table(results),
            speeds=_speeds_table(results),
            comparisons=comparison_sentences(results),
            significance=significance_table(results),
            stages=stages_table(stages),
            stages_drawn=drawn(stages),
            diagnosis=diagnosis_table(diagnoses),
            verdicts=verdict_sentences(diagnoses),
            diagnosed={name: [*_diagnosed(name)] for name in diagnoses},
            picture=Inlined(REPORT).of,
            pictures={one.file: one for one in pictures},
        )
    )


def templates() -> Environment:
    """Those of this folder; values are escaped."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(marked=marked, columns_of_figures=columns_of_figures, minus=minus)
    return found


def _pictures(
    results: Results, architectures: list[str], diagnosed: list[str]
) -> Iterator[Picture]:
    """Each with a sentence that says what is on it, of the numbers at hand."""
    bert = results.bert
    said = f"held-out masked tokens right: {100 * bert['valid_mlm_accuracy']:.1f} %"
    if "valid_nsp_accuracy" in bert:
        said += f", next sentences: {100 * bert['valid_nsp_accuracy']:.1f} %"
    ranked = sorted(results.rows, key=lambda row: -float(row.beam["bleu"]))
    told = ", ".join(f"{row.name} {row.beam['bleu']:.1f}" for row in ranked)
    names = ", ".join(architectures)
    for file, title, seen in (
        ("bert_loss", "Loss", f"Training and held-out loss by update beside guessing; {said}"),
        ("bert_accuracy", "Accuracy", f"Accuracy by update beside guessing; {said}"),
        (
            "seq2seq_loss",
            "Training and validation loss",
            f"Loss by update of {names}; a star marks the lowest validation loss of each",
        ),
        ("scores", "Scores with 95 % intervals", f"BLEU with beam search: {told}"),
        (
            "beam_size",
            "By beam size",
            f"BLEU, the model's own score and length ratio by beam size, of {names}",
        ),
        (
            "by_length",
            "By length",
            f"Mean chrF by words of the source, with 95 % intervals, of {names}",
        ),
        (
            "by_rarity",
            "By rarity",
            "Mean chrF by how often the source's rarest word occurs in training, with 95 % "
            f"intervals, of {names}",
        ),
        ("lengths", "Lengths", "Share of training sentences by their words"),
        (
            "gradient_distance",
            "How far back a loss is felt",
            f"Gradient norm at the source by distance from its end, of {', '.join(diagnosed)}",
        ),
    ):
        yield Picture(f"{file}.svg", title, seen)


def _diagnosed(name: str) -> Iterator[Picture]:
    for file, title in pictures_of(name).items():
        yield Picture(f"diagnosis/{name}/{file}", title, f"{title} of {name}")


class Inlined:
    """Pictures as parts of the page, each with ids of its own and in the page's colours.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0

    def of(self, one: Picture) -> Markup:
        """The picture with its description; nothing where it was not drawn."""
        path = self._folder / one.file
        if not path.is_file():
            return Markup()
        self._number += 1
        prefix = f"p{self._number}-"
        svg = path.read_text(encoding="utf-8")
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'\bid="', f'id="{prefix}', svg)
        svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}", svg)
        # What is black on paper has the page's colour, and white paper is the page.
        svg = re.sub(r"#000000\b", "currentColor", svg)
        svg = re.sub(r"fill: #ffffff(?=\")", "fill: none", svg)
        svg = re.sub(r"<text(?=[ >])(?![^>]*fill)", '<text fill="currentColor"', svg)
        described = f'<svg role="img" aria-label="{escape(one.seen)}"'
        if width := re.search(r'\bwidth="([\d.]+)pt"', svg):
            # A phone scrolls it: made to fit, nobody could read it.
            smallest = _SMALLEST * float(width[1]) * _PIXELS
            described += f' style="min-width: {smallest:.0f}px"'
        return Markup(svg.replace("<svg", described, 1))


def asked(params_file: ParamsFile) -> dict[str, Any]:
    """What was asked: params as they stand, the commit, and whether the checkout has changes."""
    return {
        "params": Path("params.yaml").read_text(encoding="utf-8"),
        **commit(),
        "raw": params_file.get("corpus.raw"),
        "languages": [params_file.get(f"corpus.{key}_language") for key in ("source", "target")],
    }


def commit() -> dict[str, Any]:
    """Of this checkout: its ``commit``, the ``subject``, and whether code has ``changed`` since."""
    return {
        "commit": _git("rev-parse", "HEAD")[:12] or "none",
        "subject": _git("log", "-1", "--format=%s"),
        "changed": bool(_git("status", "--porcelain", "--", "pipelines", "dvc.yaml")),
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _with_costs(table: list[list[str]], results: Results) -> list[list[str]]:
    """The scores, with seconds of training and speed of search where these ran here."""
    header, *rows = table
    names = [row.name for row in results.rows]
    speeds = search_speeds(
        [f"{stage}@{name}" for stage in ("decoding", "ensemble") for name in names]
    )
    seconds = {name: seconds_of(f"seq2seq@{name}", DATA / "seq2seq" / name) for name in names}
    costs = [
        [
            f"{found:,.0f}" if (found := seconds.get(cells[0])) else "–",
            speeds.get(f"{cells[0]}.beam", "–"),
        ]
        for cells in rows
    ]
    return [
        [*header, "training, s", "sentences/s, beam"],
        *([*cells, *cost] for cells, cost in zip(rows, costs, strict=True)),
    ]


def _speeds_table(results: Results) -> list[list[str]]:
    """Sentences a second of each search of each system, where these ran here."""
    names = [row.name for row in results.rows]
    found = search_speeds(
        [f"{stage}@{name}" for stage in ("decoding", "ensemble") for name in names]
    )
    searches = list(dict.fromkeys(key.rpartition(".")[2] for key in found))
    rows = [[name, *(found.get(f"{name}.{one}", "–") for one in searches)] for name in names]
    return [["sentences/s", *(one.replace("_", " ") for one in searches)], *rows]


def _quality_table(results: Results) -> list[list[str]]:
    """TER and exact matches of the beam's translations, with intervals."""
    rows = [["system", "TER", "exact matches"]]
    for row in results.rows:
        ter = f"{row.beam['ter']:.2f} ± {row.beam['ter_interval']:.2f}" if "ter" in row.beam else ""
        rows.append([row.name, ter, f"{100 * row.beam['exact_match']:.1f} %"])
    return rows


def columns_of_figures(rows: list[list[str]]) -> list[bool]:
    """Which columns hold nothing but figures below the header; these stand to the right."""
    columns = zip(*rows[1:], strict=True)
    return [all(map(_NUMBER.fullmatch, cells)) for cells in columns] or [False] * len(rows[0])


def minus(cell: str) -> str:
    """A figure with a true minus, which is as wide as a plus."""
    return re.sub(r"^-(?=[\d.])", "−", cell)


def write_page() -> None:
    """Write ``report.html``.

    Raises:
        DataError: a stage has not run.
    """
    write_text_whole(PAGE, page(read_params()))


def main() -> int:
    """Write the page, and say where it is."""
    write_page()
    print(f"{PAGE}: everything on one page, to open in a browser or to pass on")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
