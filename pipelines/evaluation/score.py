"""Stage ``evaluation``: hypotheses and references → BLEU, chrF, significance. Reads files, imports no model."""

import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.corpus.corpus import pair_file, read_lines
from pipelines.errors import DataError, ParamsError
from pipelines.evaluation.params import EvaluationParams
from pipelines.sections import Document
from pipelines.stage import Metrics, Stage, StageRun, run_stage

CORPUS, HYPOTHESES = Path("data/corpus"), Path("data/decoding")
SEARCHES = ("greedy", "beam")


def declare(document: Document) -> Stage:
    """Reads the hypotheses of every architecture and ensemble that params.yaml names, and the references."""
    sections = {
        "corpus.source_language": str,
        "corpus.target_language": str,
        "evaluation": EvaluationParams,
        "seq2seq.architectures": dict[str, Any],
        "ensembles": dict[str, Any],
    }
    names = [*document.get("seq2seq.architectures"), *document.get("ensembles")]
    folders = tuple(HYPOTHESES / name for name in names)
    return Stage("evaluation", "pipelines.evaluation.score", sections, (CORPUS, *folders))


def score(run: StageRun) -> Metrics:
    """Score every architecture, ensemble and search, and compare each with each.

    Raises:
        DataError: an architecture or ensemble has not one hypothesis per reference.
        ParamsError: a comparison names neither an architecture nor an ensemble.
    """
    from pipelines.evaluation.metrics import Folding, compare, scores
    from pipelines.evaluation.parts import by_length, length_groups

    params = run.section("evaluation", EvaluationParams)
    folding = Folding(params.lowercase, params.strip_accents)
    sources, references = (
        read_lines(pair_file(CORPUS, "test", run.section(f"corpus.{side}_language", str)))
        for side in ("source", "target")
    )
    names = [*run.section("seq2seq.architectures", dict), *run.section("ensembles", dict)]
    _check(params, names)
    hypotheses = {
        name: {search: _read(HYPOTHESES / name / f"{search}.txt", len(references)) for search in SEARCHES}
        for name in names
    }
    table: dict[str, Any] = {
        name: {
            search: scores(lines, references, params.num_resamples, folding, params.also)
            for search, lines in searches.items()
        }
        for name, searches in hypotheses.items()
    }
    groups = length_groups(sources, params.length_groups)
    for name in names:
        table[name]["curve"] = _curve(HYPOTHESES / name, references, folding)
        table[name]["by_length"] = by_length(hypotheses[name]["beam"], references, groups, folding)
    pairs = [
        {"system": one, "baseline": other}
        | compare(hypotheses[one]["beam"], hypotheses[other]["beam"], references, params.num_resamples, folding)
        for one, other in itertools.combinations(names, 2)
    ]
    named = [_named(pairs, comparison.system, comparison.baseline) for comparison in params.comparisons]
    return {
        "evaluation": {
            "sentences": len(references),
            "architectures": table,
            "comparisons": named,
            "each_with_each": pairs,
        }
    }


def _check(params: EvaluationParams, names: Sequence[str]) -> None:
    for pair in params.comparisons:
        for name in (pair.system, pair.baseline):
            if name not in names:
                raise ParamsError(
                    f"params.yaml: evaluation.comparisons ({name!r}) must be one of {', '.join(names)}; correct it"
                )
        if pair.system == pair.baseline:
            raise ParamsError(
                f"params.yaml: evaluation.comparisons ({pair.system!r}) must name two; a system equals itself"
            )


def _named(pairs: Sequence[dict[str, Any]], system: str, baseline: str) -> dict[str, Any]:
    """A comparison among those of each with each, turned round where needed."""
    found = next(pair for pair in pairs if {pair["system"], pair["baseline"]} == {system, baseline})
    sign = 1 if found["system"] == system else -1
    turned = {
        metric: {"difference": sign * found[metric]["difference"], "p_value": found[metric]["p_value"]}
        for metric in ("bleu", "chrf")
    }
    return {"system": system, "baseline": baseline, **turned}


def _curve(folder: Path, references: Sequence[str], folding: Any) -> list[dict[str, float]]:
    """Quality, length and the model's own score by beam size."""
    from pipelines.evaluation.metrics import plain_scores

    try:
        measured = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["decoding"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}/metrics.json: cannot be read ({error}); run dvc repro") from None
    points = []
    plain = [name for name in measured if re.fullmatch(r"greedy|beam_\d+", name)]
    own = measured["beam"]["beam_size"]  # of the stage's search, which is a point of the curve unless a plain one is
    for name in plain if own == 1 or f"beam_{own}" in measured else ("beam", *plain):
        quality = plain_scores(_read(folder / f"{name}.txt", len(references)), references, folding)
        points.append({"beam_size": measured[name]["beam_size"], "score": measured[name]["mean_score"], **quality})
    return sorted(points, key=lambda point: point["beam_size"])


def _read(path: Path, expected: int) -> list[str]:
    try:
        lines = read_lines(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); run dvc repro") from None
    if len(lines) != expected:
        raise DataError(f"{path}: number of lines ({len(lines)}) must be {expected}, one per reference; run dvc repro")
    return lines


if __name__ == "__main__":
    sys.exit(run_stage(declare, score))
