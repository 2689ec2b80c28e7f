"""Stage ``report``: all metrics and hypotheses → pictures, tables, a model card, one HTML page;
scores and curves as DVC compares and draws them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.frame.files import write_json
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage
from pipelines.report.params import ReportParams

if TYPE_CHECKING:
    from pipelines.report.page import Sample

CORPUS, HYPOTHESES, DIAGNOSES = (Path("data", name) for name in ("corpus", "decoding", "diagnosis"))


def declare(params_file: ParamsFile) -> Stage:
    """Reads the outs of all other stages."""
    sections = {
        "corpus.source_language": str,
        "corpus.target_language": str,
        "report": ReportParams,
        "seq2seq.architectures": dict[str, Any],
        "ensembles": dict[str, Any],
        "diagnosis.models": dict[str, Any],
    }
    architectures = list(params_file.get("seq2seq.architectures"))
    folders = [
        CORPUS,
        *(Path("data", name) for name in ("tokenizer", "shards", "bert", "evaluation")),
    ]
    folders += [Path("data/seq2seq", name) for name in architectures]
    folders += [HYPOTHESES / name for name in (*architectures, *params_file.get("ensembles"))]
    folders += [DIAGNOSES / name for name in params_file.get("diagnosis.models")]
    return Stage("report", "pipelines.report.write", sections, tuple(folders))


def write(run: StageRun) -> Metrics:
    """Write the report into ``run.work``.

    Raises:
        DataError: a stage has not run yet.
    """
    from pipelines.report import page, text
    from pipelines.report.curves import write_curves
    from pipelines.report.diagnoses import diagnosis_markdown, pictures_of, read_diagnoses
    from pipelines.report.pictures import draw_all, draw_distances
    from pipelines.report.plots_page import plots_page
    from pipelines.report.results import read_json, read_results
    from pipelines.report.scores import scores

    languages = (
        run.section("corpus.source_language", str),
        run.section("corpus.target_language", str),
    )
    architectures = list(run.section("seq2seq.architectures", dict))
    ensembles = list(run.section("ensembles", dict))
    results = read_results(architectures, ensembles)
    diagnoses = read_diagnoses(list(run.section("diagnosis.models", dict)))
    draw_all(results, architectures, run.work)
    draw_distances(diagnoses, run.work)
    for name in diagnoses:
        pictures = run.work / "diagnosis" / name
        pictures.mkdir(parents=True)
        for file in pictures_of(name):
            shutil.copyfile(DIAGNOSES / name / file, pictures / file)
    found = text.groups(languages)
    text.draw_lengths(found, run.work)
    tables = page.TextTables(
        text.corpus_table(report := read_json(CORPUS / "report.json")),
        text.dropped_samples(report),
        text.tokenizer_table(found),
    )
    write_json(run.work / "scores.json", scores(results))
    write_curves(architectures, run.work / "curves")
    samples = _samples(
        [*architectures, *ensembles], languages, run.section("report", ReportParams).num_samples
    )
    for name, written in (
        ("tables.md", page.tables_markdown(results) + diagnosis_markdown(diagnoses)),
        ("model_card.md", page.model_card(results, languages)),
        ("index.html", page.html_page(results, samples, diagnoses, tables)),
        ("plots_page.html", plots_page()),
    ):
        (run.work / name).write_text(written, encoding="utf-8")
    run.say("data/report/index.html for eyes, scores.json and curves for DVC")
    return {
        "report": {"architectures": architectures, "ensembles": ensembles, "samples": len(samples)}
    }


def _samples(names: list[str], languages: tuple[str, str], count: int) -> list[Sample]:
    """The first sentences of the test set in all versions."""
    from pipelines.formats.corpus.files import pair_file, read_lines
    from pipelines.report.page import Sample

    sources, references = (
        read_lines(pair_file(CORPUS, "test", language)) for language in languages
    )
    translations = {name: read_lines(HYPOTHESES / name / "beam.txt") for name in names}
    return [
        Sample(
            sources[row],
            references[row],
            {name: lines[row] for name, lines in translations.items()},
        )
        for row in range(min(count, len(sources)))
    ]


if __name__ == "__main__":
    sys.exit(run_stage(declare, write))
