"""Every check worth making before hours of compute: ``python -m pipelines.preflight [RECIPE …]``.

DVC deletes a stage's outs before it starts the stage, so what can be known beforehand is said
beforehand: all of it at once, each problem with its remedy. Errors end with exit code 2, warnings
do not.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import assert_never

from pipelines.classification.examples import read_tables
from pipelines.classification.params import ClassificationParams
from pipelines.corpus.inspecting import inspect
from pipelines.corpus.lexicon import read_lexicon
from pipelines.corpus.params import CorpusParams, EmbeddedReader, FilesReader, SourcesReader
from pipelines.evaluation.params import EvaluationParams
from pipelines.evaluation.words import bleu_tokenizer
from pipelines.frame.errors import EXIT_BAD_INPUT, MasklineError, ParamsError
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.frame.run_folder import expected_seconds
from pipelines.params.recipes import with_recipes
from pipelines.params.rules import problems_of
from pipelines.preflight import dvc_files, endpoints, machine, raw_text, tokens
from pipelines.preflight.certificates import Until
from pipelines.preflight.finding import Finding


def findings(recipes: Sequence[str] = (), *, run: bool = False) -> Iterator[Finding]:
    """All problems of params, raw data, machine and endpoints;
    no error among them if the run can start.

    Args:
        recipes: laid over params.yaml for this, and not written.
        run: a run begins now, so nobody else may be at work, and results should be traceable.
    """
    yield from machine.versions()
    yield from machine.others_at_work(run=run)
    if run:
        yield from machine.checkout()
    yield from (damaged := list(dvc_files.files()))
    if not damaged:
        yield from dvc_files.temporary_experiments()
    try:
        params_file = with_recipes(recipes)
    except ParamsError as error:
        yield Finding("error", "params", str(error))
        return
    broken = problems_of(params_file)
    yield from (Finding("error", "params", problem) for problem in broken)
    for check in (_check_raw_data, _check_tasks, _check_bleu):
        try:
            yield from check(params_file)
        except ParamsError as error:
            if not broken:  # else it is among the problems of the params
                yield Finding("error", "params", str(error))
        except MasklineError as error:
            yield Finding("error", "data", str(error))
    if not broken and not damaged:
        yield from machine.disk(params_file)
        yield from machine.devices(params_file, run=run)
        until = Until(timedelta(seconds=expected_seconds()))
        yield from endpoints.check(params_file, until)
        yield from tokens.check(until)


def _check_tasks(params_file: ParamsFile) -> Iterable[Finding]:
    for task in validate(params_file, "classification", ClassificationParams).tasks.values():
        if task.kind == "tsv":
            read_tables(Path(task.data))
    return ()


def _check_bleu(params_file: ParamsFile) -> Iterable[Finding]:
    """Its tokenizer may need a package; better known before the training than after it."""
    wanted = validate(params_file, "evaluation", EvaluationParams).bleu_tokenizer
    bleu_tokenizer(wanted, validate(params_file, "corpus", CorpusParams).target_language)
    return ()


def _check_raw_data(params_file: ParamsFile) -> Iterator[Finding]:
    params = validate(params_file, "corpus", CorpusParams)
    match params.reader:
        case EmbeddedReader():
            read_lexicon(Path(params.raw))
        case FilesReader() | SourcesReader():
            inspect(params, params.reader)
            yield from raw_text.check(params_file, params, params.reader)
        case _:
            assert_never(params.reader)
    yield from raw_text.changed_since(params)


def main() -> int:
    """Print all problems; 0 if none is an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="as if laid over params.yaml")
    parser.add_argument("--run", action="store_true", help="before a run: what matters only then")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    found = list(findings(arguments.recipes, run=arguments.run))
    if arguments.json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1))
    else:
        for one in found:
            print(f"{one.severity}: {one.message}", file=sys.stderr)
    return EXIT_BAD_INPUT if any(one.severity == "error" for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
