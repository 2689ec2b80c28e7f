"""Whether the outs of a release are of these params, and as their stages wrote them."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pipelines.frame.errors import DataError
from pipelines.frame.files import MANIFEST, describe_input, digest, sha256_of
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.frame.stage import Stage, plain_value
from pipelines.report.results import read_json

_FIRST = (
    "pipelines.corpus.prepare",
    "pipelines.tokenizer.train",
    "pipelines.shards.write",
    "pipelines.bert.pretrain",
)
_EACH = {
    "classification.tasks": "pipelines.classification.classify",
    "seq2seq.architectures": "pipelines.seq2seq.finetune",
    "ensembles": "pipelines.ensemble.search",
}
_LAST = ("pipelines.evaluation.evaluate", "pipelines.report.write")
_DECODING = "pipelines.decoding.decode"


def require_consistent(params_file: ParamsFile) -> None:
    """Refuse outs that are not what these params, and the outs before them, lead to.

    Raises:
        DataError: with the first that is not.
    """
    for stage in _stages(params_file):
        _require_whole(stage.out)
        origin = read_json(stage.out / "metrics.json")["origin"]
        sections = {
            path: plain_value(validate(params_file, path, schema))
            for path, schema in stage.sections.items()
        }
        inputs = {key: sha for path in stage.inputs for key, sha in describe_input(path).items()}
        for kind, made_of in (("params", sections), ("data", inputs)):
            if origin[kind] != digest(made_of)[:16]:
                raise DataError(
                    f"{stage.out}: must be of the {kind} that are there now, or a card would not "
                    "be true; make run (make plan says what differs)"
                )


def _stages(params_file: ParamsFile) -> Iterator[Stage]:
    for entry in _FIRST:
        yield import_module(entry).declare(params_file)
    # In their order, so that the first that is told is the first that is wrong.
    for section, entry in _EACH.items():
        for name in params_file.get(section):
            yield import_module(entry).declare(params_file, str(name))
            if section == "seq2seq.architectures":
                yield import_module(_DECODING).declare(params_file, str(name))
    for entry in _LAST:
        yield import_module(entry).declare(params_file)


def _require_whole(folder: Path) -> None:
    """Refuse an out that somebody edited."""
    try:
        files = read_json(folder / MANIFEST)
        changed = [
            name
            for name, sha in files.items()
            if not (folder / name).is_file() or sha256_of(folder / name) != sha
        ]
    except (OSError, AttributeError) as error:
        raise DataError(f"{folder}: must be readable ({error}); dvc checkout {folder}") from None
    if changed:
        raise DataError(
            f"{folder / changed[0]}: must be as the stage wrote it; dvc checkout --force {folder}"
        )
