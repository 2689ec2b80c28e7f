"""Pictures of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.report.results import Results, curves
from pipelines.report.style import colour, dash, label_ends, new_figure, save

Points = list[dict[str, float]]


def draw_all(
    results: Results,
    architectures: Sequence[str],
    folder: Path,
) -> None:
    """Write every picture into ``folder``; ensembles are not trained and have no curves."""
    _bert_curves(results, folder)
    _seq2seq_curves(architectures, folder)
    _scores(results, folder)
    _beam_size(results, folder)


def _bert_curves(results: Results, folder: Path) -> None:
    """Training and held-out curves of both tasks, beside what guessing reaches."""
    points = curves("bert")
    tasks = ["mlm", "nsp"] if "valid_nsp_loss" in results.bert else ["mlm"]
    baselines = {
        "mlm_loss": ("unigram_entropy", "frequencies alone"),
        "nsp_loss": ("nsp_uniform_loss", "a coin"),
        "mlm_accuracy": ("mlm_accuracy_unigram", "commonest token"),
        "nsp_accuracy": ("nsp_accuracy_majority", "commoner answer"),
    }
    titles = {"mlm": "masked tokens", "nsp": "next sentence"}
    for quantity, unit in (("loss", "loss, nats"), ("accuracy", "accuracy")):
        figure, panes = new_figure(len(tasks), width=5.2)
        for axes, task in zip(panes, tasks, strict=True):
            name = f"{task}_{quantity}"
            axes.plot(*_series(points, name), color=colour(0), linewidth=1, label="training")
            axes.plot(
                *_series(points, f"valid_{name}"), "o-", markersize=4, color=colour(1),
                label="held out",
            )  # fmt: skip
            key, label = baselines[name]
            axes.axhline(results.bert[key], color="#808080", linestyle=":", label=label)
            axes.set(xlabel="update", ylabel=unit, title=titles[task])
            label_ends(axes)
        figure.tight_layout()
        save(figure, folder / f"bert_{quantity}.svg")


def _seq2seq_curves(architectures: Sequence[str], folder: Path) -> None:
    """Training loss of each architecture, validation loss with the update that was selected."""
    figure, (training, validation) = new_figure(2, width=5.6)
    for number, name in enumerate(architectures):
        points = curves(f"seq2seq/{name}")
        style: dict[str, Any] = {"color": colour(number), "linestyle": dash(number), "label": name}
        training.plot(*_series(points, "loss"), linewidth=1, **style)
        updates, losses = _series(points, "valid_loss")
        validation.plot(updates, losses, marker="o", markersize=3, **style)
        if losses:
            best = min(range(len(losses)), key=losses.__getitem__)
            validation.plot(
                updates[best], losses[best], "*", markersize=11, color=colour(number), label="_"
            )
    training.set(xlabel="update", ylabel="loss, nats per token", title="training")
    validation.set(xlabel="update", title="validation (★ lowest)")
    label_ends(training)
    label_ends(validation)
    figure.tight_layout()
    save(figure, folder / "seq2seq_loss.svg")


def _scores(results: Results, folder: Path) -> None:
    """BLEU and chrF with intervals, a row for each system."""
    figure, panes = new_figure(2, width=4.6, height=0.8 + 0.42 * len(results.rows))
    for axes, (name, title) in zip(panes, {"bleu": "BLEU", "chrf": "chrF"}.items(), strict=True):
        for place, row in enumerate(reversed(results.rows)):
            for search, filled, offset in (("greedy", "white", -0.12), ("beam", colour(0), 0.12)):
                found = getattr(row, search)
                axes.errorbar(
                    found[name], place + offset, xerr=found[f"{name}_interval"], fmt="o",
                    color=colour(0), markerfacecolor=filled, capsize=3, markersize=6,
                )  # fmt: skip
        axes.set_yticks(range(len(results.rows)), [row.name for row in reversed(results.rows)])
        axes.set(
            title=f"{title} (filled: beam, open: greedy)", ylim=(-0.6, len(results.rows) - 0.4)
        )
    figure.tight_layout()
    save(figure, folder / "scores.svg")


def _beam_size(results: Results, folder: Path) -> None:
    """Quality, the model's own score and length by beam size."""
    labels = {
        "bleu": "BLEU", "score": "the model's own score", "length_ratio": "length ÷ reference's",
    }  # fmt: skip
    figure, panes = new_figure(3, width=4.6)
    sizes = sorted({point["beam_size"] for row in results.rows for point in row.curve})
    for axes, (name, label) in zip(panes, labels.items(), strict=True):
        for number, row in enumerate(results.rows):
            axes.plot(
                [point["beam_size"] for point in row.curve],
                [point[name] for point in row.curve],
                marker="o", markersize=3, color=colour(number), linestyle=dash(number),
                label=row.name,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set(xlabel="beam size", title=label)
        label_ends(axes)
    figure.tight_layout()
    save(figure, folder / "beam_size.svg")


def draw_groups(found: Mapping[str, Sequence[Mapping[str, float]]], label: str, path: Path) -> None:
    """Mean chrF of groups of sentences with 95 % intervals, a line a system; see `by_group`."""
    figure, (axes,) = new_figure()
    count = max(1, len(found))
    for number, (name, parts) in enumerate(found.items()):
        places = [place + 0.3 * (number / count - 0.5) for place in range(len(parts))]
        means = [part["chrf"] for part in parts]
        axes.errorbar(
            places, means, yerr=[part["interval"] for part in parts], marker="o", markersize=4,
            capsize=2, color=colour(number), linestyle=dash(number),
        )  # fmt: skip
        axes.plot(places, means, alpha=0, color=colour(number), label=name)
    parts = next(iter(found.values()), [])
    axes.set_xticks(
        range(len(parts)),
        [f"{_range(part['fewest'], part['most'])}\n({part['sentences']:g})" for part in parts],
    )
    axes.set(xlabel=label, ylabel="mean chrF of sentences, 95 %")
    label_ends(axes)
    save(figure, path)


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def draw_distances(diagnoses: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Gradient at the source by distance from its end, of all models that have one: what vanishes
    in a plain RNN.
    """
    figure, (axes,) = new_figure()
    for number, (name, found) in enumerate(diagnoses.items()):
        distances = {int(place): value for place, value in found.get("by_distance", {}).items()}
        if distances.get(0):
            places = sorted(distances)
            shares = [max(distances[place] / distances[0], 1e-12) for place in places]
            axes.semilogy(places, shares, "o-", markersize=4, color=colour(number), label=name)
    axes.axhline(1.0, color="#808080", linewidth=1, linestyle=":", label="_")
    axes.set(xlabel="tokens before the source's end", ylabel="gradient norm ÷ the last token's")
    label_ends(axes)
    save(figure, folder / "gradient_distance.svg")


def _series(points: Points, name: str) -> tuple[list[float], list[float]]:
    chosen = [(point["step"], point[name]) for point in points if name in point]
    return [step for step, _ in chosen], [value for _, value in chosen]
