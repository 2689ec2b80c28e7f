"""Every check worth making before hours of compute: ``python -m pipelines.preflight``.

DVC deletes a stage's outs before it starts the stage, so what can be known beforehand is said beforehand.
"""

import sys
from pathlib import Path

from pipelines.bert.classification.examples import read_tables
from pipelines.bert.classification.params import ClassificationParams
from pipelines.corpus.lexicon import read_lexicon
from pipelines.corpus.params import CorpusParams, FilesReader
from pipelines.corpus.text_files import inspect
from pipelines.errors import EXIT_BAD_INPUT, MasklineError, ParamsError
from pipelines.params import problems_of
from pipelines.sections import Document, read_document, validate


def problems() -> list[str]:
    """All problems of params and raw data, each with its remedy; empty if the run can start."""
    try:
        document = read_document()
    except ParamsError as error:
        return [str(error)]
    found = problems_of(document)
    for check in (_check_raw_data, _check_tasks):
        try:
            check(document)
        except ParamsError:
            pass  # already among the problems of the params
        except MasklineError as error:
            found.append(str(error))
    return found


def _check_tasks(document: Document) -> None:
    for task in validate(document, "classification", ClassificationParams).tasks.values():
        if task.kind == "tsv":
            read_tables(Path(task.data))


def _check_raw_data(document: Document) -> None:
    params = validate(document, "corpus", CorpusParams)
    if isinstance(params.reader, FilesReader):
        inspect(params, params.reader)
    else:
        read_lexicon(Path(params.raw))


def main() -> int:
    """Print all problems; 0 if there are none."""
    found = problems()
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    return EXIT_BAD_INPUT if found else 0


if __name__ == "__main__":
    sys.exit(main())
