"""Every check worth making before hours of compute: ``python -m pipelines.preflight [--json]``.

DVC deletes a stage's outs before it starts the stage, so what can be known beforehand is said
beforehand: all of it at once, each problem with its remedy. Errors end with exit code 2, warnings
do not.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pipelines.classification.examples import read_tables
from pipelines.classification.params import ClassificationParams
from pipelines.corpus.lexicon import read_lexicon
from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.corpus.text_files import inspect
from pipelines.evaluation.params import EvaluationParams
from pipelines.evaluation.words import bleu_tokenizer
from pipelines.frame.errors import EXIT_BAD_INPUT, MasklineError, ParamsError
from pipelines.frame.params_reader import Document, read_document, validate
from pipelines.frame.run_folder import RUNS, last_seconds
from pipelines.preflight import dvc_files, endpoints, machine
from pipelines.preflight.finding import Finding
from pipelines.preflight.rules import problems_of


def findings() -> Iterator[Finding]:
    """All problems of params, raw data, machine and endpoints; no error among them if the run can
    start.
    """
    yield from machine.versions()
    yield from machine.checkout()
    yield from (damaged := list(dvc_files.files()))
    if not damaged:
        yield from dvc_files.temporary_experiments()
    try:
        document = read_document()
    except ParamsError as error:
        yield Finding("error", "params", str(error))
        return
    broken = problems_of(document)
    yield from (Finding("error", "params", problem) for problem in broken)
    for check in (_check_raw_data, _check_tasks, _check_bleu):
        try:
            check(document)
        except ParamsError as error:
            if not broken:  # else it is among the problems of the params
                yield Finding("error", "params", str(error))
        except MasklineError as error:
            yield Finding("error", "data", str(error))
    if not broken and not damaged:
        yield from machine.disk(document)
        yield from machine.devices(document)
        yield from endpoints.check(
            document, sum(last_seconds(path.name) or 0.0 for path in RUNS.glob("*"))
        )


def _check_tasks(document: Document) -> None:
    for task in validate(document, "classification", ClassificationParams).tasks.values():
        if task.kind == "tsv":
            read_tables(Path(task.data))


def _check_bleu(document: Document) -> None:
    """Its tokenizer may need a package; better known before the training than after it."""
    wanted = validate(document, "evaluation", EvaluationParams).bleu_tokenizer
    bleu_tokenizer(wanted, validate(document, "corpus", CorpusParams).target_language)


def _check_raw_data(document: Document) -> None:
    params = validate(document, "corpus", CorpusParams)
    if isinstance(params.reader, FilesReader):
        inspect(params, params.reader)
    else:
        read_lexicon(Path(params.raw))


def main() -> int:
    """Print all problems; 0 if none is an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    found = list(findings())
    if arguments.json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1))
    else:
        for one in found:
            print(f"{one.severity}: {one.message}", file=sys.stderr)
    return EXIT_BAD_INPUT if any(one.severity == "error" for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
