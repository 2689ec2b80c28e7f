"""Pictures of the report, the same bytes for the same numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from pipelines.report.results import Results, curves

PICTURES = (
    "bert_loss.png",
    "bert_accuracy.png",
    "seq2seq_loss.png",
    "bleu.png",
    "beam_size.png",
    "source_length.png",
)


def draw_all(results: Results, architectures: Sequence[str], folder: Path) -> None:
    """Write every picture into ``folder``; ensembles are not trained and have no curves."""
    _bert_curves(results, folder)
    _seq2seq_curves(architectures, folder)
    _bleu(results, folder)
    _beam_size(results, folder)
    _source_length(results, folder)


def _bert_curves(results: Results, folder: Path) -> None:
    points, tasks = curves("bert"), ["mlm", "nsp"] if "valid_nsp_loss" in results.bert else ["mlm"]
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name in (f"{prefix}{task}_loss" for task in tasks for prefix in ("", "valid_")):
        axes.plot(
            *_series(points, name),
            marker="o" if name.startswith("valid") else None,
            markersize=4,
            label=name,
        )
    baselines = [
        ("ln V", "uniform_loss"),
        ("unigram entropy", "unigram_entropy"),
        ("ln 2", "nsp_uniform_loss"),
    ]
    for style, (label, name) in zip(("--", ":", "-."), baselines[: 1 + len(tasks)], strict=False):
        axes.axhline(results.bert[name], color="grey", linestyle=style, linewidth=1, label=label)
    axes.set(xlabel="update", ylabel="loss (nats)", title="BERT: loss beside that of guessing")
    save(figure, folder / "bert_loss.png")
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name, baseline, colour in (
        ("mlm", "unigram", "tab:blue"),
        ("nsp", "majority", "tab:orange"),
    )[: len(tasks)]:
        axes.plot(*_series(points, f"{name}_accuracy"), color=colour, label=name)
        axes.axhline(
            results.bert[f"{name}_accuracy_{baseline}"],
            color=colour,
            linestyle=":",
            label=f"{name} {baseline}",
        )
    axes.set(
        xlabel="update",
        ylabel="accuracy",
        title="BERT: accuracy beside trivial baselines",
        ylim=(0, 1),
    )
    save(figure, folder / "bert_accuracy.png")


def _seq2seq_curves(architectures: Sequence[str], folder: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name in architectures:
        axes.plot(
            *_series(curves(f"seq2seq/{name}"), "valid_loss"), marker="o", markersize=4, label=name
        )
    axes.set(
        xlabel="update", ylabel="validation loss (nats per token)", title="Seq2seq: validation loss"
    )
    save(figure, folder / "seq2seq_loss.png")


def _bleu(results: Results, folder: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for offset, search in ((-0.2, "greedy"), (0.2, "beam")):
        scores = [getattr(row, search)["bleu"] for row in results.rows]
        errors = [getattr(row, search)["bleu_interval"] for row in results.rows]
        places = [place + offset for place in range(len(scores))]
        axes.bar(places, scores, width=0.38, yerr=errors, capsize=3, label=search)
    axes.set_xticks(range(len(results.rows)), [row.name for row in results.rows])
    axes.set(ylabel="BLEU, with 95 % intervals", title="Test set")
    save(figure, folder / "bleu.png")


def _beam_size(results: Results, folder: Path) -> None:
    figure, panes = pyplot.subplots(1, 3, figsize=(12, 3.5))
    names = {
        "bleu": "BLEU",
        "score": "the model's own score",
        "length_ratio": "length ÷ reference's",
    }
    for axes, (name, label) in zip(panes, names.items(), strict=True):
        for row in results.rows:
            sizes = [point["beam_size"] for point in row.curve]
            axes.plot(
                sizes,
                [point[name] for point in row.curve],
                marker="o",
                markersize=4,
                label=row.name,
            )
        sizes = sorted({point["beam_size"] for row in results.rows for point in row.curve})
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set(xlabel="beam size", ylabel=label)
    save(figure, folder / "beam_size.png")


def _source_length(results: Results, folder: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for row in results.rows:
        axes.plot(
            [part["bleu"] for part in row.by_length], marker="o", markersize=4, label=row.name
        )
    parts = results.rows[0].by_length
    axes.set_xticks(
        range(len(parts)),
        [f"{part['shortest']:g}–{part['longest']:g}\n({part['sentences']:g})" for part in parts],
    )
    axes.set(
        xlabel="words of the source (sentences)",
        ylabel="BLEU, beam",
        title="By length of the source",
    )
    save(figure, folder / "source_length.png")


def draw_distances(diagnoses: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Gradient at the source by distance from its end, of all models that have one: what vanishes
    in a plain RNN.
    """
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name, found in diagnoses.items():
        distances = {int(place): value for place, value in found.get("by_distance", {}).items()}
        if distances.get(0):
            places = sorted(distances)
            shares = [max(distances[place] / distances[0], 1e-12) for place in places]
            axes.semilogy(places, shares, "o-", markersize=4, label=name)
    axes.axhline(1.0, color="grey", linewidth=1, linestyle=":", label="the last token's")
    axes.set(xlabel="tokens before the source's end", ylabel="gradient norm, by the last token's")
    axes.set_title("How far back a loss is felt")
    save(figure, folder / "gradient_distance.png")


def _series(points: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    chosen = [(point["step"], point[name]) for point in points if name in point]
    return [step for step, _ in chosen], [value for _, value in chosen]


def save(figure: Figure, path: Path) -> None:
    """Write a picture with legend and grid, and close it."""
    for axes in figure.axes:
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
