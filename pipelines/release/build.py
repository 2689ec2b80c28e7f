"""One release: models with cards, report, params, lock, environment, checksums, signature.

What is in ``releases/NAME``:

| file or folder | what it is |
|---|---|
| ``README.md`` | what is here, with scores |
| ``bert``, ``gru`` … | a model each, with its card |
| ``transformer-ctranslate2`` | where it was asked for |
| ``report.html``, ``params.yaml``, ``dvc.lock``, ``environment.json`` | how they came about |
| ``release.json`` | name, time, commit, models |
| ``SHA256SUMS`` | of all the others |
| ``model.sig`` | signature of them all |
"""

import platform
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pipelines.exports import ctranslate2
from pipelines.frame.errors import DataError, ParamsError, broken_rule
from pipelines.frame.files import sync_tree, write_json
from pipelines.frame.params_reader import ParamsFile, read_params
from pipelines.release.card import Data, Described, card
from pipelines.release.checking import FACTS, sign, write_sums
from pipelines.release.consistency import require_consistent
from pipelines.release.models import ensembles, names, origin_of, write_model
from pipelines.report.page import page
from pipelines.report.results import Results, read_results


def build(
    name: str, folder: Path, only: Sequence[str], quantizations: Sequence[str], key: Path | None
) -> list[str]:
    """Write a release, whole or not at all; the names of its models.

    Args:
        name: of it.
        folder: to be made.
        only: models; all that can be, if empty.
        quantizations: of exports to CTranslate2, for each model that has its layout.
        key: private, to sign with.

    Raises:
        ParamsError: a model is not in params.yaml, or has no layout that is asked for.
        DataError: a stage has not run, or with other params; the folder is there.
    """
    params = read_params()
    chosen = _chosen(params, only)
    if folder.exists():
        rule, remedy = "not be there yet", "give another name, or remove it"
        raise DataError(broken_rule("release", "folder", str(folder), rule, remedy))
    require_consistent(params)
    results = read_results(list(params.get("seq2seq.architectures")), list(params.get("ensembles")))
    if quantizations and not any(_has_layout(one, params) for one in chosen):
        rule, remedy = "be asked for where a model is a transformer", "leave it out"
        raise ParamsError(
            broken_rule("release", "--ctranslate2", " ".join(quantizations), rule, remedy)
        )
    work = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        made = [_model(one, params, results, work) for one in chosen]
        for one in made:
            for quantization in quantizations if _has_layout(one.name, params) else ():
                end = "" if quantization == "float32" else f"-{quantization}"
                target = work / f"{one.name}-ctranslate2{end}"
                ctranslate2.export(one.name, target, quantization)
        _write_surroundings(name, params, results, made, work)
        write_sums(work)
        if key is not None:
            sign(work, key)
        sync_tree(work)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return chosen


def _chosen(params: ParamsFile, only: Sequence[str]) -> list[str]:
    known = names(params)
    for one in only:
        if one not in known:
            rule = f"be one of {', '.join(known)}"
            raise ParamsError(broken_rule("release", "--only", one, rule, "correct it"))
    return [one for one in known if one in only or not only]


def _model(name: str, params: ParamsFile, results: Results, work: Path) -> Described:
    folder = work / name
    folder.mkdir()
    described = write_model(name, params, results, folder)
    written = card(described, _data(params, results), origin_of(described))
    (folder / "README.md").write_text(written, encoding="utf-8")
    return described


def _has_layout(name: str, params: ParamsFile) -> bool:
    """Whether CTranslate2 has the layout of a model."""
    architectures = params.get("seq2seq.architectures")
    return name in architectures and architectures[name]["family"] == "transformer"


def _data(params: ParamsFile, results: Results) -> Data:
    corpus = results.corpus
    sizes = [
        (f"documents, {part}", f"{found['documents']:,} with {found['words']:,} words")
        for part, found in corpus["documents"].items()
    ]
    pairs = ", ".join(f"{count:,} {split}" for split, count in corpus["pairs"].items())
    license_ = params.get("corpus.license")
    if params.get("corpus.reader.kind") == "embedded" and license_ is None:
        license_ = "apache-2.0"  # the grammar is this project's own
    return Data(
        raw=str(params.get("corpus.raw")),
        license=None if license_ is None else str(license_),
        languages=(
            str(params.get("corpus.source_language")),
            str(params.get("corpus.target_language")),
        ),
        sizes=[*sizes, ("pairs", pairs)],
    )


def _write_surroundings(
    name: str, params: ParamsFile, results: Results, made: Sequence[Described], work: Path
) -> None:
    """What belongs to all models."""
    data = _data(params, results)
    (work / "report.html").write_text(page(params), encoding="utf-8")
    for file in ("params.yaml", "dvc.lock"):
        if not Path(file).is_file():
            raise DataError(f"{file}: must be there, for a release says what it is of; make run")
        shutil.copyfile(file, work / file)
    write_json(work / "environment.json", _environment())
    facts: dict[str, Any] = {
        "name": name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": origin_of(made[0]).commit,
        "license": data.license,
        "models": [one.name for one in made],
    }
    write_json(work / FACTS, facts)
    lines = "\n".join(_readme(facts, data, made, ensembles(params, results)))
    (work / "README.md").write_text(lines, encoding="utf-8")


def _environment() -> dict[str, Any]:
    """What the models were released with."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "packages": dict(sorted((one.name, one.version) for one in distributions())),
    }


def _readme(
    facts: dict[str, Any],
    data: Data,
    made: Sequence[Described],
    together: Sequence[tuple[str, str, str]],
) -> Iterator[str]:
    yield f"# {facts['name']}\n"
    license_ = f"`{data.license}`" if data.license else "**not given**"
    yield f"Models of `{data.raw}`, made {facts['made']}; licence of the text: {license_}.\n"
    yield "| folder | what it is | scores |"
    yield "|---|---|---|"
    for one in made:
        scores = ", ".join(f"{score.title} {score.shown}" for score in one.scores)
        yield f"| [{one.name}]({one.name}/README.md) | {one.what} | {scores} |"
    for name, members, scores in together:
        what = f"ensemble `{name}`: {members}, searched as one (`python -m pipelines.translate`)"
        yield f"| – | {what} | {scores} |"
    yield "\n[report.html](report.html) tells how they came about.\n"
    yield "## Verify\n"
    yield "```sh"
    yield "sha256sum --check --quiet SHA256SUMS        # an accident shows"
    yield "pip install model-signing                   # an attack shows, by its maker's public key"
    yield "model_signing verify key . --signature model.sig --no-ignore-git-paths --public_key KEY"
    yield "```"
    yield ""
