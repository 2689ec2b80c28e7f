"""Stage ``evaluation``: hypotheses and references → BLEU, chrF, significance. Reads files,
imports no model.
"""

import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.params import EvaluationParams
from pipelines.formats.corpus.files import pair_file, read_lines
from pipelines.frame.errors import DataError, ParamsError
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage

CORPUS, TOKENIZER, HYPOTHESES = Path("data/corpus"), Path("data/tokenizer"), Path("data/decoding")
SEARCHES = ("greedy", "beam")
_ENOUGH = 0.5  # share of references with a 4-gram, below which BLEU says little
_TITLES = {"bleu": "BLEU", "chrf": "chrF"}
_HIGH = 99.5  # a ceiling above this is not worth a word


def declare(params_file: ParamsFile) -> Stage:
    """Reads what params.yaml's architectures and ensembles wrote, the references,
    and the tokenizer for the ceiling.
    """
    sections = {
        "corpus.source_language": str,
        "corpus.target_language": str,
        "evaluation": EvaluationParams,
        "seq2seq.architectures": dict[str, Any],
        "ensembles": dict[str, Any],
    }
    names = [*params_file.get("seq2seq.architectures"), *params_file.get("ensembles")]
    folders = tuple(HYPOTHESES / name for name in names)
    return Stage(
        "evaluation", "pipelines.evaluation.evaluate", sections, (CORPUS, TOKENIZER, *folders)
    )


def score(run: StageRun) -> Metrics:
    """Score every architecture, ensemble and search, compare each with each,
    and say what could be reached at all.

    Raises:
        DataError: an architecture or ensemble has not one hypothesis per reference.
        ParamsError: a comparison names neither an architecture nor an ensemble; BLEU's tokenizer is
            not installed.
    """
    from pipelines.evaluation.ceiling import ceiling
    from pipelines.evaluation.metrics import Folding, compare, scores, share_with_ngrams
    from pipelines.evaluation.parts import by_length, length_groups
    from pipelines.evaluation.words import bleu_tokenizer
    from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer

    params = run.section("evaluation", EvaluationParams)
    tokenizer = bleu_tokenizer(params.bleu_tokenizer, run.section("corpus.target_language", str))
    folding = Folding(params.lowercase, params.strip_accents, tokenizer)
    sources, references = (
        read_lines(pair_file(CORPUS, "test", run.section(f"corpus.{side}_language", str)))
        for side in ("source", "target")
    )
    names = [*run.section("seq2seq.architectures", dict), *run.section("ensembles", dict)]
    _check(params, names)
    hypotheses = {name: _read_searches(HYPOTHESES / name, len(references)) for name in names}
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
    pairs = []
    for one, other in itertools.combinations(names, 2):
        beams = hypotheses[one]["beam"], hypotheses[other]["beam"]
        difference = compare(*beams, references, params.num_resamples, folding)
        pairs.append({"system": one, "baseline": other} | difference)
    words = SubwordTokenizer.load(TOKENIZER)
    kept = Folding(words.folds["lowercase"], words.folds["strip_accents"])
    highest = ceiling(words, references, folding, kept)
    long_enough = share_with_ngrams(references, folding)
    leading = _leading(long_enough)
    for warning in _warnings(highest, long_enough, references, folding):
        run.warn(warning)
    named = [
        _named(pairs, comparison.system, comparison.baseline) for comparison in params.comparisons
    ]
    run.show_table("scores", _rows(table))
    run.show_table("comparisons", _compared(pairs))
    found = ", ".join(f"{name} {table[name]['beam'][leading]:.2f}" for name in names)
    run.say(f"{_TITLES[leading]} on {len(references):,} sentences: {found}")
    return {
        "evaluation": {
            "sentences": len(references),
            "leading": leading,
            "ceiling": highest,
            "architectures": table,
            "comparisons": named,
            "each_with_each": pairs,
        }
    }


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each system and search, for eyes; signatures apart."""
    return [
        {"system": name, "search": search}
        | {key: value for key, value in found[search].items() if not key.endswith("signature")}
        for name, found in table.items()
        for search in ("greedy", "beam")
    ]


def _compared(pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each two systems, for eyes: differences and p-values of each metric."""
    return [
        {"system": pair["system"], "baseline": pair["baseline"]}
        | {
            f"{metric} {name}": value
            for metric, found in pair.items()
            if isinstance(found, dict)
            for name, value in found.items()
        }
        for pair in pairs
    ]


def _leading(long_enough: float) -> str:
    """The metric to look at first: BLEU, or chrF where few references are long enough for it."""
    return "bleu" if long_enough >= _ENOUGH else "chrf"


def _warnings(
    highest: dict[str, Any], long_enough: float, references: Sequence[str], folding: Any
) -> Iterator[str]:
    """What makes the scores mean less than they seem to."""
    from pipelines.evaluation.words import share_without_spaces, splits_at_spaces

    name = _leading(long_enough)
    title = _TITLES[name]
    if highest[name] < _HIGH:
        lost = {kind: points[name] for kind, points in highest["lost"].items()}
        kinds = ", ".join(f"{kind} {points:.1f}" for kind, points in lost.items() if points)
        yield (
            f"even a perfect model would reach {highest[name]:.1f} {title}: its tokenizer loses "
            f"text ({kinds} points)"
        )
    if long_enough < _ENOUGH:
        share = f"only {100 * long_enough:.0f} % of the references have four words"
        yield f"BLEU counts 4-grams, and {share}: look at chrF and exact matches"
    without = share_without_spaces(references)
    if without > _ENOUGH and splits_at_spaces(folding.tokenizer):
        rule = "evaluation.bleu_tokenizer must suit a target that is written without spaces"
        yield (
            f"{rule}: {folding.tokenizer} takes a sentence for a word; set zh, ja-mecab, char or "
            "flores200"
        )


def _check(params: EvaluationParams, names: Sequence[str]) -> None:
    for pair in params.comparisons:
        for name in (pair.system, pair.baseline):
            if name not in names:
                raise ParamsError(
                    f"params.yaml: evaluation.comparisons ({name!r}) must be one of "
                    f"{', '.join(names)}; correct it"
                )
        if pair.system == pair.baseline:
            raise ParamsError(
                f"params.yaml: evaluation.comparisons ({pair.system!r}) must name two; a system "
                "equals itself"
            )


def _named(pairs: Sequence[dict[str, Any]], system: str, baseline: str) -> dict[str, Any]:
    """A comparison among those of each with each, turned round where needed."""
    found = next(pair for pair in pairs if {pair["system"], pair["baseline"]} == {system, baseline})
    sign = 1 if found["system"] == system else -1
    turned = {
        metric: {
            "difference": sign * found[metric]["difference"],
            "p_value": found[metric]["p_value"],
        }
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
    # The beam size of the stage's own search: a point of the curve, unless a plain search is.
    own = measured["beam"]["beam_size"]
    for name in plain if own == 1 or f"beam_{own}" in measured else ("beam", *plain):
        quality = plain_scores(_read(folder / f"{name}.txt", len(references)), references, folding)
        points.append(
            {
                "beam_size": measured[name]["beam_size"],
                "score": measured[name]["mean_score"],
                **quality,
            }
        )
    return sorted(points, key=lambda point: point["beam_size"])


def _read_searches(folder: Path, count: int) -> dict[str, list[str]]:
    """Search → its hypotheses, ``count`` of them."""
    return {search: _read(folder / f"{search}.txt", count) for search in SEARCHES}


def _read(path: Path, expected: int) -> list[str]:
    try:
        lines = read_lines(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); run dvc repro") from None
    if len(lines) != expected:
        raise DataError(
            f"{path}: number of lines ({len(lines)}) must be {expected}, one per reference; run "
            "dvc repro"
        )
    return lines


if __name__ == "__main__":
    sys.exit(run_stage(declare, score))
