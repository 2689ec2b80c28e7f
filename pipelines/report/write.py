"""Stage ``report``: all metrics and hypotheses → pictures, tables, a model card, findings for the
page; scores and curves as DVC compares and draws them.

The page itself, ``report.html``, is no out: `pipelines.report.page` makes it of these.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from pipelines.decoding.params import DecodingParams
from pipelines.frame.files import write_json
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage
from pipelines.report.params import ReportParams

CORPUS, HYPOTHESES, DIAGNOSES = (Path("data", name) for name in ("corpus", "decoding", "diagnosis"))
BERT, SEQ2SEQ, TOKENIZER = (Path("data", name) for name in ("bert", "seq2seq", "tokenizer"))
FINDINGS = "findings.json"


def declare(params_file: ParamsFile) -> Stage:
    """Reads the outs of all other stages, and looks into the models."""
    from pipelines.models.protocol.registry import family_module

    sections = {
        "bert.segments.nsp": str,
        "corpus.source_language": str,
        "corpus.target_language": str,
        "decoding": DecodingParams,
        "report": ReportParams,
        "seq2seq.architectures": dict[str, Any],
        "ensembles": dict[str, Any],
        "diagnosis.models": dict[str, Any],
    }
    architectures = list(params_file.get("seq2seq.architectures"))
    folders = [CORPUS, TOKENIZER, Path("data/shards"), BERT, Path("data/evaluation")]
    folders += [SEQ2SEQ / name for name in architectures]
    folders += [HYPOTHESES / name for name in (*architectures, *params_file.get("ensembles"))]
    folders += [DIAGNOSES / name for name in params_file.get("diagnosis.models")]
    blocks = [f"seq2seq.architectures.{name}.family" for name in architectures]
    families = dict.fromkeys(params_file.get(block) for block in blocks)
    return Stage(
        "report",
        "pipelines.report.write",
        sections,
        tuple(folders),
        modules=tuple(map(family_module, families)),
    )


def write(run: StageRun) -> Metrics:
    """Write the report into ``run.work``.

    Raises:
        DataError: a stage has not run yet.
    """
    from pipelines.report import tables, text
    from pipelines.report.curves import write_curves
    from pipelines.report.diagnoses import diagnosis_markdown, pictures_of, read_diagnoses
    from pipelines.report.pictures import draw_all, draw_distances, draw_groups
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
    found = text.groups(languages)
    findings = {
        "text": {
            "corpus": text.corpus_table(report := read_json(CORPUS / "report.json")),
            "dropped": text.dropped_samples(report),
            "samples": text.samples_table(found),
            "tokenizer": text.tokenizer_table(found),
        },
        **_translations(run, architectures, ensembles, languages, results.leading_system),
        **_looks(run, languages, results.leading_system),
    }
    draw_all(results, architectures, run.work)
    draw_groups(findings["lengths"], "words of the source (sentences)", run.work / "by_length.svg")
    draw_groups(
        findings["rarity"],
        "occurrences of the source's rarest word in training pairs (sentences)",
        run.work / "by_rarity.svg",
    )
    draw_distances(diagnoses, run.work)
    text.draw_lengths(found, run.work)
    for name in diagnoses:
        pictures = run.work / "diagnosis" / name
        pictures.mkdir(parents=True)
        for file in pictures_of(name):
            shutil.copyfile(DIAGNOSES / name / file, pictures / file)
    write_json(run.work / FINDINGS, findings)
    write_json(run.work / "scores.json", scores(results))
    write_curves(architectures, run.work / "curves")
    for name, written in (
        ("tables.md", tables.tables_markdown(results) + diagnosis_markdown(diagnoses)),
        ("model_card.md", tables.model_card(results, languages)),
        ("plots_page.html", plots_page()),
    ):
        (run.work / name).write_text(written, encoding="utf-8")
    run.tracker.log_pictures(run.work)
    if told := findings["next_sentences"]:
        run.show_table("next_sentences", [{"pair is": one} | row for one, row in told.items()])
    best = results.leading_system
    run.say(f"{len(results.rows)} systems, best {best}; `make report` draws report.html of it")
    return {"report": {"architectures": architectures, "ensembles": ensembles, "best": best}}


def _translations(
    run: StageRun,
    architectures: list[str],
    ensembles: list[str],
    languages: tuple[str, str],
    leading: str,
) -> dict[str, Any]:
    """Sentences of the test set in all versions, and quality by length and rarity."""
    from pipelines.formats.corpus.files import pair_file, read_lines
    from pipelines.formats.text import num_words
    from pipelines.report.examples import (
        as_data,
        by_group,
        chosen,
        rarest_words,
        sentence_scores,
    )

    sources, references = (
        read_lines(pair_file(CORPUS, "test", language)) for language in languages
    )
    translations = {
        name: read_lines(HYPOTHESES / name / "beam.txt") for name in (*architectures, *ensembles)
    }
    scores = {name: sentence_scores(lines, references) for name, lines in translations.items()}
    training = read_lines(pair_file(CORPUS, "train", languages[0]))
    first = run.section("report", ReportParams).num_samples
    return {
        "examples": as_data(chosen(sources, references, translations, scores, leading, first)),
        "lengths": by_group([num_words(line) for line in sources], scores),
        "rarity": by_group(rarest_words(sources, training), scores),
    }


def _looks(run: StageRun, languages: tuple[str, str], leading: str) -> dict[str, Any]:
    """What BERT answers, and what searches look at."""
    from pipelines.formats.corpus.files import pair_file, read_documents, read_lines
    from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
    from pipelines.looks.models import fill_mask, next_sentences, searched, short_lines

    tokenizer = SubwordTokenizer.load(TOKENIZER)
    documents = {one: read_documents(CORPUS, "valid", one) for one in languages}
    nsp = run.section("bert.segments.nsp", str)
    masked = [
        line
        for one in documents.values()
        for line in short_lines([line for doc in one for line in doc], tokenizer, 3)
    ]
    lines = short_lines(read_lines(pair_file(CORPUS, "test", languages[0])), tokenizer, 2)
    params, folder = run.section("decoding", DecodingParams), SEQ2SEQ
    architectures = list(run.section("seq2seq.architectures", dict))
    shown = {name: searched(folder / name, tokenizer, lines, params) for name in architectures}
    tree = leading if leading in shown else architectures[0]
    return {
        "fill_mask": fill_mask(BERT, tokenizer, masked),
        "next_sentences": {}
        if nsp == "none"
        else next_sentences(BERT, tokenizer, documents[languages[1]], nsp),
        "attention": {
            name: [{k: v for k, v in one.items() if k != "tree"} for one in found]
            for name, found in shown.items()
            if found and found[0]["attention"] is not None
        },
        "tree": {"system": tree, "lines": [one["tree"] for one in shown[tree]]},
    }


if __name__ == "__main__":
    sys.exit(run_stage(declare, write))
