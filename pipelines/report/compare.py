"""Runs held side by side: ``python -m pipelines.report.compare A B [C …]``, `make compare A=… B=…`.

Params, code and data that differ, scores with intervals, the paired bootstrap of each system of a
run against the same one of the first, curves, costs, translations that changed: on the terminal, as
one page (``compare.html``) and as CSV. What is a run: see `pipelines.report.runs`.
"""

import argparse
import csv
import io
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.evaluation.metrics import Folding, compare
from pipelines.evaluation.words import bleu_tokenizer
from pipelines.frame.errors import ParamsError, broken_rule, exit_code
from pipelines.frame.files import write_text_whole
from pipelines.report.examples import sentence_scores
from pipelines.report.page import Inlined, Picture, templates
from pipelines.report.runs import Run, open_runs
from pipelines.report.table import render

PAGE = Path("compare.html")
_CHANGED = 5  # translations of each kind
_WIDEST = 24  # letters of a value on the terminal
_METRICS = {"bleu": "BLEU", "chrf": "chrF"}
_SURE = 0.05


@dataclass(frozen=True)
class Pairing:
    """A system of a run against the same one of the first run.

    Attributes:
        system: its name.
        run: of the second.
        found: see `pipelines.evaluation.metrics.compare`; None where they may not be paired.
        why_not: then, in words.
    """

    system: str
    run: str
    found: dict[str, dict[str, float]] | None
    why_not: str = ""


def differing(runs: Sequence[Run]) -> list[list[str]]:
    """Params that are not the same in all runs, in the order of the first one's file."""
    keys = dict.fromkeys(key for run in runs for key in run.params)
    rows = [["params", *(run.name for run in runs)]]
    for key in keys:
        values = [run.params.get(key, _ABSENT) for run in runs]
        if any(value != values[0] for value in values):
            rows.append([key, *map(_shown, values)])
    return rows


def inputs_that_differ(runs: Sequence[Run]) -> list[list[str]]:
    """Code and raw data that are not the same, with the first digits of their digests."""
    keys = sorted({key for run in runs for key in run.inputs})
    rows = [["code and raw data", *(run.name for run in runs)]]
    for key in keys:
        values = [run.inputs.get(key, "–") for run in runs]
        if len(set(values)) > 1:
            rows.append([key, *values])
    return rows


def scores(runs: Sequence[Run]) -> list[list[str]]:
    """Scores of all systems with 95 % intervals, and accuracies of BERT; – where a run has none."""
    rows = [["scores", *(run.name for run in runs)]]
    for task, title in (("mlm", "masked tokens, %"), ("nsp", "next sentences, %")):
        if any(task in run.bert for run in runs):
            cells = [f"{run.bert[task]:.1f}" if task in run.bert else "–" for run in runs]
            rows.append([title, *cells])
    for metric, title in _METRICS.items():
        for system in dict.fromkeys(name for run in runs for name in run.systems):
            cells = []
            for run in runs:
                if system in run.systems:
                    found = run.beam(system)
                    cells.append(f"{found[metric]:.2f} ± {found[f'{metric}_interval']:.2f}")
                else:
                    cells.append("–")
            rows.append([f"{title} {system}", *cells])
    return rows


def pairings(runs: Sequence[Run]) -> list[Pairing]:
    """The paired bootstrap of each system against the same one of the first run.

    Runs with another test set or other metrics are not paired: a test of sentences pair by pair
    means nothing there.
    """
    first, *others = runs
    found = []
    for run in others:
        reason = _why_not(first, run)
        for system in (name for name in first.systems if name in run.systems):
            if reason:
                found.append(Pairing(system, run.name, None, reason))
                continue
            _, references = run.test_set()
            evaluation = run.sections["evaluation"]
            tokenizer = bleu_tokenizer(
                evaluation["bleu_tokenizer"], run.params["corpus.target_language"]
            )
            folding = Folding(evaluation["lowercase"], evaluation["strip_accents"], tokenizer)
            tested = compare(
                run.translations(system), first.translations(system), references,
                evaluation["num_resamples"], folding,
            )  # fmt: skip
            found.append(Pairing(system, run.name, tested))
    return found


def _why_not(first: Run, run: Run) -> str:
    if run.test_digest != first.test_digest:
        return f"another test set ({first.test_digest}, {run.test_digest})"
    for system in (name for name in first.systems if name in run.systems):
        for metric in _METRICS:
            one, other = (each.beam(system)[f"{metric}_signature"] for each in (first, run))
            if _words_of(one) != _words_of(other):
                return f"another metric ({one}, {other})"
    return ""


def _words_of(signature: str) -> list[str]:
    """A signature without what does not change a score: the number of resamples."""
    return [part for part in signature.split("|") if not part.startswith(("bs:", "seed:"))]


def sentences(found: Sequence[Pairing], first: str) -> Iterator[str]:
    """What the paired tests say; of runs that may not be paired why, once."""
    for reason in dict.fromkeys((one.run, one.why_not) for one in found if one.found is None):
        yield f"{reason[0]} and {first} are not paired: {reason[1]}"
    for one in found:
        if one.found is None:
            continue
        for metric, title in _METRICS.items():
            difference, p = one.found[metric]["difference"], one.found[metric]["p_value"]
            sure = "significant" if p < _SURE else "not significant"
            points = f"{difference:+.2f}".replace("-", "−")
            yield (f"{one.system}: {one.run} − {first} = {points} {title} (p = {p:.3f}, {sure})")


def costs(runs: Sequence[Run]) -> list[list[str]]:
    """Seconds of each training, where it ran here; parameters do not change with time."""
    rows = [["seconds of training", *(run.name for run in runs)]]
    outs = {"bert": "bert"} | {
        f"seq2seq@{name}": f"seq2seq/{name}" for run in runs for name in run.systems
    }
    for instance, out in outs.items():
        took = [run.seconds(instance, out) for run in runs]
        if any(took):
            rows.append([instance, *("–" if one is None else f"{one:,.0f}" for one in took)])
    return rows


def changed(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Sentences whose translation gained or lost most from the first run to the last, by chrF.

    Of the system that leads in the first run and is in both; none if the test sets differ.
    """
    first, last = runs[0], runs[-1]
    both = [name for name in first.systems if name in last.systems]
    if not both or first.test_digest != last.test_digest:
        return []
    system = max(both, key=lambda name: float(first.beam(name)[first.leading]))
    sources, references = first.test_set()
    before, after = first.translations(system), last.translations(system)
    gain = [
        later - earlier
        for earlier, later in zip(
            sentence_scores(before, references), sentence_scores(after, references), strict=True
        )
    ]
    order = sorted(range(len(gain)), key=lambda row: -gain[row])
    rows = [row for row in order[:_CHANGED] if gain[row] > 0]
    rows += [row for row in order[::-1][:_CHANGED] if gain[row] < 0]
    return [
        {
            "system": system, "gain": gain[row], "source": sources[row],
            "reference": references[row], "before": before[row], "after": after[row],
        }
        for row in rows
    ]  # fmt: skip


def draw_curves(runs: Sequence[Run], folder: Path) -> list[Picture]:
    """Validation loss of each system, a line a run; a picture a system."""
    from pipelines.report.style import colour, dash, label_ends, new_figure, save

    quantities = {"bert": ("bert", "valid_mlm_loss")} | {
        system: (f"seq2seq/{system}", "valid_loss") for run in runs for system in run.systems
    }
    pictures: list[Picture] = []
    for system, (out, quantity) in quantities.items():
        figure, (axes,) = new_figure()
        told = []
        for number, run in enumerate(runs):
            points = [(one["step"], one[quantity]) for one in run.curve(out) if quantity in one]
            if points:
                updates, losses = zip(*points, strict=True)
                axes.plot(
                    updates, losses, marker="o", markersize=3, color=colour(number),
                    linestyle=dash(number), label=run.name,
                )  # fmt: skip
                told.append(f"{run.name} ends at {losses[-1]:.3f}")
        if told:
            axes.set(xlabel="update", ylabel="validation loss, nats")
            label_ends(axes)
            file = f"{len(pictures)}.svg"
            save(figure, folder / file)
            seen = f"Validation loss of {system} by update: {', '.join(told)}"
            pictures.append(Picture(file, system, seen))
    return pictures


class _Absent:
    def __repr__(self) -> str:
        return "–"


_ABSENT = _Absent()


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _narrow(rows: list[list[str]]) -> list[list[str]]:
    def cut(cell: str, size: int) -> str:
        return cell if len(cell) <= size else f"…{cell[1 - size :]}"

    width = max(10, min(_WIDEST, (79 - 34) // max(1, len(rows[0]) - 1) - 2))
    return [[cut(row[0], 34), *(cut(cell, width) for cell in row[1:])] for row in rows]


def printed(runs: Sequence[Run], found: Sequence[Pairing]) -> Iterator[str]:
    """Lines for a terminal of 80 columns."""
    for rows in (differing(runs), inputs_that_differ(runs), scores(runs), costs(runs)):
        if len(rows) > 1:
            yield render(_narrow(rows)) + "\n"
    for sentence in sentences(found, runs[0].name):
        yield textwrap.fill(sentence, 80, subsequent_indent="  ")


def as_csv(runs: Sequence[Run]) -> str:
    """All tables, one below the other: kind, name, and a column a run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "name", *(run.name for run in runs)])
    for rows in (differing(runs), inputs_that_differ(runs), scores(runs), costs(runs)):
        writer.writerows([rows[0][0], *row] for row in rows[1:])
    return text.getvalue()


def page(runs: Sequence[Run], found: Sequence[Pairing]) -> str:
    """``compare.html``."""
    with TemporaryDirectory() as folder:
        pictures = draw_curves(runs, Path(folder))
        return (
            templates()
            .get_template("compare.html.jinja")
            .render(
                names=[run.name for run in runs],
                tables=[
                    ("Params that differ", differing(runs)),
                    ("Code and raw data that differ", inputs_that_differ(runs)),
                    ("Scores, with 95 % intervals", scores(runs)),
                    ("Costs", costs(runs)),
                ],
                sentences=list(sentences(found, runs[0].name)),
                pictures=pictures,
                picture=Inlined(Path(folder)).of,
                changed=changed(runs),
            )
        )


def main(given: Sequence[str] | None = None) -> int:
    """Compare runs.

    Raises:
        ParamsError: fewer than two are named, or one of them is none.
        DataError: one has not run to its end.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.report.compare",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="the first is what others are held to"
    )
    parser.add_argument("--csv", type=Path, help="a file for all tables")
    arguments = parser.parse_args(given)
    runs = [run for one in arguments.runs for run in open_runs(one)]
    if len(runs) < 2:
        rule, remedy = "be two or more", "compare . HEAD, or . and an experiment's name"
        raise ParamsError(broken_rule("compare", "runs", len(runs), rule, remedy))
    found = pairings(runs)
    for line in printed(runs, found):
        print(line)
    write_text_whole(PAGE, page(runs, found))
    print(f"\n{PAGE}: the same with curves and translations that changed")
    if arguments.csv:
        write_text_whole(arguments.csv, as_csv(runs))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
