"""The results table on the terminal, and the timings the HTML page shows: ``python -m
pipelines.report.table``.

Not a stage: it reads what the stages measured and what their run folders timed, and computes
nothing.
"""

import json
import sys
import unicodedata
from pathlib import Path

from pipelines.frame.errors import MasklineError
from pipelines.frame.params_reader import read_document
from pipelines.frame.records import Records
from pipelines.frame.run_folder import RUNS, folder_of_out
from pipelines.report.page import bert_table, comparison_sentences, scores_table
from pipelines.report.results import read_results

_NEXT = """
models        data/bert  data/seq2seq/*      (python: \
transformers.BertForPreTraining.from_pretrained("data/bert"))
hypotheses    data/decoding/*/beam.txt  greedy.txt  *.nbest.jsonl
pictures      data/report/index.html  *.png  model_card.md
curves        .runs/*/*/metrics.jsonl         (wandb sync .runs/wandb/offline-run-* sends them \
to W&B)

try next      change a key in params.yaml and `make run` again: only what depends on it runs
              make flow                       the same stages as a Prefect flow
              make run RECIPE=multi30k        real captions, English to German
              dvc exp run -S decoding.beam_size=10 && dvc exp show"""


def timings_of(instance: str, out: Path) -> list[dict[str, float]]:
    """What the run that wrote ``out`` timed; empty if it did not run in this checkout."""
    folder = folder_of_out(instance, out)
    return Records(folder / "timings.jsonl").read() if folder else []


def search_speeds(instances: list[str]) -> dict[str, str]:
    """``architecture.search`` → sentences/s, where these stages were measured here."""
    speeds = {}
    for instance in instances:
        name = instance.partition("@")[2]
        for record in timings_of(instance, Path("data/decoding", name)):
            if "search" in record:
                speeds[f"{name}.{record['search']}"] = f"{record['sentences_per_s']:.0f}"
    return speeds


def render(table: list[list[str]]) -> str:
    """Columns aligned, numbers to the right."""
    widths = [max(_width(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            _pad(cell, width, right=column > 0)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "─" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def _width(text: str) -> int:
    return sum(not unicodedata.combining(char) for char in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def main() -> int:
    """Print everything; 0, or 2 if a stage has not run."""
    try:
        document = read_document()
        architectures, ensembles = (
            list(document.get(section)) for section in ("seq2seq.architectures", "ensembles")
        )
        results = read_results(architectures, ensembles)
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    decoded = [f"decoding@{name}" for name in architectures] + [
        f"ensemble@{name}" for name in ensembles
    ]
    speeds = search_speeds(decoded)
    RUNS.mkdir(exist_ok=True)
    (RUNS / "timings.js").write_text(f"window.timings = {json.dumps(speeds)};\n", encoding="utf-8")
    scores = scores_table(results)
    header = [*scores[0], "sent/s greedy", "sent/s beam"]
    rows = [
        [*row, speeds.get(f"{row[0]}.greedy", "–"), speeds.get(f"{row[0]}.beam", "–")]
        for row in scores[1:]
    ]
    print("\n" + render(bert_table(results)) + "\n\n" + render([header, *rows]) + "\n")
    for sentence in comparison_sentences(results):
        print(sentence)
    for warning in results.warnings:
        print(f"warning: {warning}")
    print(_NEXT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
