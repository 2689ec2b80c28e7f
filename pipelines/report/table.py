"""The results table on the terminal, and the timings the HTML page shows:
``python -m pipelines.report.table``.

Not a stage: it reads what the stages measured and what their run folders timed, and computes
nothing.
"""

import sys
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipelines.formats.corpus.files import pair_file, read_lines
from pipelines.frame.errors import exit_code
from pipelines.frame.params_reader import ParamsFile, read_params
from pipelines.frame.records import Records
from pipelines.frame.run_folder import folder_of_out
from pipelines.report.diagnoses import read_diagnoses, verdict_sentences
from pipelines.report.results import Results, read_results
from pipelines.report.tables import bert_table, comparison_sentences, scores_table

_AS_WIDE_AS_IT_IS = 10_000
_SHOWN = 2  # translations
_NEXT = """
Everything on one page: report.html; models: data/bert, data/seq2seq
Next: change a key in params.yaml, then `make plan` and `make run`
      dvc exp run -S decoding.beam_size=10 && make compare
      make run RECIPE=multi30k, or text of your own: docs/own-text.md"""


def timings_of(instance: str, out: Path) -> list[dict[str, float]]:
    """What the run that wrote ``out`` timed; empty if it did not run in this checkout."""
    folder = folder_of_out(instance, out)
    return Records(folder / "timings.jsonl").read() if folder else []


def seconds_of(instance: str, out: Path) -> float | None:
    """What the run that wrote ``out`` took; None if it did not run in this checkout."""
    return cost_of(instance, out, "seconds")


def cost_of(instance: str, out: Path, name: str) -> float | None:
    """One of the costs of the run that wrote ``out``, ``seconds``, ``peak_mib`` or ``joules``; None
    if it did not run in this checkout, or nobody measured it.
    """
    timed = timings_of(instance, out)
    return float(timed[-1][name]) if timed and name in timed[-1] else None


def search_speeds(instances: list[str]) -> dict[str, str]:
    """``architecture.search`` → sentences/s, where these stages were measured here."""
    speeds = {}
    for instance in instances:
        name = instance.partition("@")[2]
        for record in timings_of(instance, Path("data/decoding", name)):
            if "search" in record:
                speeds[f"{name}.{record['search']}"] = f"{record['sentences_per_s']:.0f}"
    return speeds


def render(rows: list[list[str]], left: int = 1) -> str:
    """Rows of cells, the first one the header, as a table with a rule below.

    Args:
        rows: as many cells in each.
        left: so many columns are of words; the others, of numbers, stand to the right.
    """
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style=""
    )
    header, *body = rows
    for number, title in enumerate(header):
        table.add_column(title, justify="left" if number < left else "right", no_wrap=True)
    for cells in body:
        table.add_row(*map(escape, cells))
    printed = Console(file=StringIO(), width=_AS_WIDE_AS_IT_IS, color_system=None)
    printed.print(table)
    assert isinstance(printed.file, StringIO)
    return "\n".join(line.rstrip() for line in printed.file.getvalue().rstrip().splitlines())


def _narrow(row: list[str]) -> list[str]:
    """What of a row of `scores_table` fits eighty columns: the page has all of it."""
    name, _, greedy, beam, _, second, *exact = row
    return [name, greedy, beam, second, *exact]


def _translations(params_file: ParamsFile, results: Results) -> Iterator[str]:
    """The first sentences of the test set, as the best system translates them."""
    best = results.leading_system
    source, target = (params_file.get(f"corpus.{side}_language") for side in ("source", "target"))
    corpus = Path("data/corpus")
    lines = [read_lines(pair_file(corpus, "test", language)) for language in (source, target)]
    found = read_lines(Path("data/decoding", best, "beam.txt"))
    for given, wanted, made in islice(zip(*lines, found, strict=True), _SHOWN):
        yield f"\n{source}: {given}\n{target}: {wanted}\n{best}: {made}"


def main() -> int:
    """Print everything.

    Raises:
        DataError: a stage has not run.
    """
    params_file = read_params()
    architectures, ensembles = (
        list(params_file.get(section)) for section in ("seq2seq.architectures", "ensembles")
    )
    results = read_results(architectures, ensembles)
    decoded = [f"decoding@{name}" for name in architectures] + [
        f"ensemble@{name}" for name in ensembles
    ]
    speeds = search_speeds(decoded)
    header, *rows = (_narrow(row) for row in scores_table(results))
    rows = [[*row, speeds.get(f"{row[0]}.beam", "–")] for row in rows]
    table = render([[*header, "sent/s"], *rows])
    say("\n" + render(bert_table(results)) + "\n")
    for line in table.splitlines():
        say(line, "bold green" if line.startswith(f"{results.leading_system} ") else "")
    say("")
    for sentence in comparison_sentences(results):
        say(sentence)
    for warning in results.warnings:
        say(f"warning: {warning}", "yellow")
    for sentence in verdict_sentences(read_diagnoses(list(params_file.get("diagnosis.models")))):
        say(f"diagnosis: {sentence}")
    say("\n".join(_translations(params_file, results)))
    say(_NEXT, "dim")
    return 0


def say(text: str, style: str = "") -> None:
    """Print, in a style on a terminal; in a pipe, or where NO_COLOR is set, as it is."""
    Console(highlight=False, soft_wrap=True).print(Text(text, style=style))


if __name__ == "__main__":
    sys.exit(exit_code(main))
