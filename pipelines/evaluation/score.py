"""Stage ``evaluation``: hypotheses and references → BLEU, chrF, significance. Reads files, imports no model."""

import sys
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
        "corpus.target_language": str,
        "evaluation": EvaluationParams,
        "seq2seq.architectures": dict[str, Any],
        "ensembles": dict[str, Any],
    }
    names = [*document.get("seq2seq.architectures"), *document.get("ensembles")]
    folders = tuple(HYPOTHESES / name for name in names)
    return Stage("evaluation", "pipelines.evaluation.score", sections, (CORPUS, *folders))


def score(run: StageRun) -> Metrics:
    """Score every architecture, ensemble and search, and compare the pairs that params name.

    Raises:
        DataError: an architecture or ensemble has not one hypothesis per reference.
        ParamsError: a comparison names neither an architecture nor an ensemble.
    """
    from pipelines.evaluation.metrics import Folding, compare, scores

    params = run.section("evaluation", EvaluationParams)
    folding = Folding(params.lowercase, params.strip_accents)
    references = read_lines(pair_file(CORPUS, "test", run.section("corpus.target_language", str)))
    hypotheses = {
        name: {search: _read(HYPOTHESES / name / f"{search}.txt", len(references)) for search in SEARCHES}
        for name in (*run.section("seq2seq.architectures", dict), *run.section("ensembles", dict))
    }
    table: dict[str, Any] = {
        name: {search: scores(lines, references, params.num_resamples, folding) for search, lines in searches.items()}
        for name, searches in hypotheses.items()
    }
    comparisons = []
    for pair in params.comparisons:
        for name in (pair.system, pair.baseline):
            if name not in hypotheses:
                raise ParamsError(
                    f"params.yaml: evaluation.comparisons ({name!r}) must be one of {', '.join(hypotheses)}; correct it"
                )
        system, baseline = hypotheses[pair.system]["beam"], hypotheses[pair.baseline]["beam"]
        result = compare(system, baseline, references, params.num_resamples, folding)
        comparisons.append({"system": pair.system, "baseline": pair.baseline, **result})
    return {"evaluation": {"sentences": len(references), "architectures": table, "comparisons": comparisons}}


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
