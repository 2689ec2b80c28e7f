"""Everything the stages measured, gathered from the metrics in their outs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.frame.errors import DataError

DATA = Path("data")


@dataclass(frozen=True)
class Row:
    """One architecture or ensemble in the results table.

    Attributes:
        greedy, beam: scores of these searches.
        curve: quality, length and the model's own score by beam size.
        by_length: scores of the beam's translations by words of the source.
    """

    name: str
    parameters: int
    greedy: dict[str, Any]
    beam: dict[str, Any]
    curve: list[dict[str, float]]
    by_length: list[dict[str, float]]


@dataclass(frozen=True)
class Results:
    """Metrics of all stages.

    Attributes:
        bert: losses, accuracies and trivial baselines on held-out documents.
        rows: architectures in the order of params.yaml, then ensembles.
        comparisons: paired bootstrap results that params name.
        each_with_each: all of them.
        corpus: sizes.
        tokenizer: vocabulary and round trip.
        leading: the metric to look at first: ``bleu``, or ``chrf`` where references are too short
            for BLEU.
        ceiling: what a perfect model would score, and why not more.
        warnings: what stages found that makes results mean less.
        origins: stage instance → seed, params hash, data hash.
    """

    bert: dict[str, Any]
    rows: list[Row]
    comparisons: list[dict[str, Any]]
    each_with_each: list[dict[str, Any]]
    corpus: dict[str, Any]
    tokenizer: dict[str, Any]
    leading: str
    ceiling: dict[str, Any]
    warnings: list[str]
    origins: dict[str, dict[str, Any]]

    @property
    def leading_system(self) -> str:
        """The one with the best beam in the leading metric; of equal ones the first."""
        return max(self.rows, key=lambda row: float(row.beam[self.leading])).name

    @property
    def signatures(self) -> list[str]:
        """The distinct metric signatures behind the scores."""
        return sorted(
            {row.beam[f"{name}_signature"] for row in self.rows for name in ("bleu", "chrf")}
        )


def read_results(architectures: list[str], ensembles: Sequence[str] = ()) -> Results:
    """Gather the metrics of the last run.

    Raises:
        DataError: a stage has not run yet.
    """
    evaluation = _read("evaluation")
    trained = {name: _read(f"seq2seq/{name}") for name in architectures}
    others = {name: _read(name) for name in ("bert", "corpus", "tokenizer", "shards")}
    searched = {name: _read(f"decoding/{name}") for name in (*architectures, *ensembles)}
    rows = [
        Row(name, metrics["decoding"]["parameters"], **_scores(evaluation, name))
        for name, metrics in searched.items()
    ]
    origins = {
        **others,
        "evaluation": evaluation,
        **{f"seq2seq@{name}": metrics for name, metrics in trained.items()},
    }
    for name, metrics in searched.items():
        origins[f"{'ensemble' if name in ensembles else 'decoding'}@{name}"] = metrics
    return Results(
        others["bert"]["bert"],
        rows,
        evaluation["evaluation"]["comparisons"],
        evaluation["evaluation"]["each_with_each"],
        others["corpus"]["corpus"],
        others["tokenizer"]["tokenizer"],
        evaluation["evaluation"]["leading"],
        evaluation["evaluation"]["ceiling"],
        list(
            dict.fromkeys(
                warning for metrics in origins.values() for warning in metrics.get("warnings", ())
            )
        ),
        {name: metrics["origin"] for name, metrics in origins.items()},
    )


def curves(folder: str) -> list[dict[str, float]]:
    """The curve points a training stage recorded."""
    points: list[dict[str, float]] = read_json(DATA / folder / "curves.json")
    return points


def _scores(evaluation: dict[str, Any], name: str) -> dict[str, Any]:
    scores = evaluation["evaluation"]["architectures"].get(name)
    if scores is None:
        raise DataError(f"data/evaluation: has no scores of '{name}'; run dvc repro")
    return {part: scores[part] for part in ("greedy", "beam", "curve", "by_length")}


def _read(folder: str) -> dict[str, Any]:
    metrics: dict[str, Any] = read_json(DATA / folder / "metrics.json")
    return metrics


def read_json(path: Path) -> Any:
    """What a stage wrote.

    Raises:
        DataError: it has not run.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(
            f"{path}: must be there for the results of these params ({error}); make run"
        ) from None
