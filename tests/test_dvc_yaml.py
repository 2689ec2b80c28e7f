"""dvc.yaml against the code: the import graph is the re-run set."""

import ast
import contextlib
import hashlib
import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipelines.corpus.params import CorpusParams
from pipelines.frame.left_overs import FOLDERS
from pipelines.frame.params_reader import ParamsFile, plain, read_params
from pipelines.frame.stage import Stage
from tests.conftest import ROOT


def _params() -> ParamsFile:
    """The shipped params with the tasks of a recipe and an ensemble, so that the optional stages
    exist too.
    """
    params_file = read_params(ROOT / "params.yaml")
    params_file.root["classification"]["tasks"] = read_params(
        ROOT / "recipes/classification.yaml"
    ).root["classification"]["tasks"]
    task = params_file.root["classification"]["tasks"]["word_order"]
    params_file.root["diagnosis"]["models"]["word_order"] = {
        "section": "classification.tasks.word_order",
        "trained": "data/classification/word_order",
        "data": task["data"],
        "update": "last",
    }
    params_file.root["ensembles"] = {
        "all": {"members": list(params_file.get("seq2seq.architectures"))}
    }
    return params_file


def _stages() -> dict[str, object]:
    with TemporaryDirectory() as folder:
        shutil.copy(ROOT / "dvc.yaml", folder)
        YAML().dump(plain(_params().root), Path(folder, "params.yaml"))
        Repo.init(folder, no_scm=True).close()
        with contextlib.chdir(folder), Repo() as repo:  # stages are named from where one stands
            return {stage.addressing: stage for stage in repo.index.stages}


STAGES = _stages()


def _declared(name: str, dvc_stage: object) -> Stage:
    words = shlex.split(dvc_stage.cmd)
    declare = import_module(words[2]).declare
    params_file = _params()
    return declare(params_file, *words[3:])


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


# Files in a folder some stage names that it does not import: an edit of them runs it again too.
# Blocks of networks (pipelines/nn) apart, for no network needs all of its folder.
_SPECIAL_TOKENS_ALONE = {"pipelines/formats/vocabulary/files.py"}
WIDER = {
    "corpus": {f"pipelines/corpus/{name}.py" for name in ("fetch", "trial", "try")},
    "tokenizer": {f"pipelines/tokenizer/{name}.py" for name in ("ngrams", "sizes")},
    "shards": _SPECIAL_TOKENS_ALONE,
    "bert": {"pipelines/training/bucketing.py"},
    "classification": {"pipelines/training/unpadding.py"},
    "seq2seq": {"pipelines/formats/bert/saving.py"},
    "decoding": _SPECIAL_TOKENS_ALONE,
    "ensemble": {
        *_SPECIAL_TOKENS_ALONE,
        "pipelines/decoding/decode.py",
        "pipelines/models/bert.py",
    },
    "evaluation": _SPECIAL_TOKENS_ALONE,
    "report": {
        *_SPECIAL_TOKENS_ALONE,
        *(
            f"pipelines/decoding/{name}.py"
            for name in ("batches", "decode", "forced_decoding", "hypotheses", "mbr", "workers")
        ),
        "pipelines/models/bert.py",
        *(f"pipelines/report/{name}.py" for name in ("compare", "graph", "page", "runs", "table")),
    },
}
# It depends on all that trains, for DVC cannot choose what trained one model.
TOGETHER = ("diagnosis",)


def _named(name: str) -> dict[str, set[str]]:
    """What a stage names in dvc.yaml, and the modules that lie there; data stand for themselves."""
    found = {}
    for dep in STAGES[name].deps:
        if not hasattr(dep, "params"):
            path = Path(dep.def_path)
            code = path.rglob("*.py") if path.is_dir() and path.parts[0] == "pipelines" else [path]
            found[path.as_posix()] = {
                file.as_posix() for file in code if file.name != "__init__.py"
            }
    return found


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_imports_lies_in_what_it_names(name):
    kind = name.partition("@")[0]
    alike = [other for other in STAGES if kind in TOGETHER and other.startswith(f"{kind}@")]
    imported = {
        path.as_posix() for one in alike or [name] for path in _declared(one, STAGES[one]).code()
    }
    named = {path: files for path, files in _named(name).items() if path.startswith("pipelines")}
    # A family of your own may have neither attention nor recurrence, and so no plain form of them.
    used = [files for path, files in named.items() if path != "pipelines/nn/plain.py"]
    assert all(imported & files for files in used), "something named is not used"
    lying = set().union(*named.values())
    assert imported <= lying
    unused = {file for file in lying - imported if not file.startswith("pipelines/nn/")}
    assert unused == WIDER.get(kind, set()) or kind in TOGETHER


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_reads_is_what_it_names(name):
    data = {path.as_posix() for path in _declared(name, STAGES[name]).inputs}
    # one folder per architecture, DVC depends on the parent
    if name in (
        "evaluation",
        "report",
        "ensemble@all",
    ):
        data = {
            "/".join(path.split("/")[:2])
            if path.split("/")[1] in ("decoding", "diagnosis", "seq2seq")
            else path
            for path in data
        }
    assert {path for path in _named(name) if not path.startswith("pipelines")} == data


def _edits() -> dict[str, set[str]]:
    """The table of docs/internals.md: a file, and the stages that an edit of it runs again."""
    text = (ROOT / "docs/internals.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| ([^|]+) \|$", text, re.MULTILINE)
    return {file: set() if names == "nothing" else set(names.split(", ")) for file, names in rows}


@pytest.mark.parametrize("file", _edits())
def test_an_edit_runs_again_what_the_docs_say(file):
    assert (ROOT / file).is_file()
    found = {name for name in STAGES if file in set().union(*_named(name).values())}
    stages = _edits()[file]
    assert found == {name for name in STAGES if {name, name.partition("@")[0]} & stages}


def test_a_reader_a_family_or_a_progress_line_never_retrains_bert():
    edits = _edits()
    assert len(edits) > 15
    for part in ("corpus/sources/tables", "models/transformer", "watch/training"):
        assert "bert" not in edits[f"pipelines/{part}.py"]


def test_an_ensemble_of_few_reads_no_more_than_dvc_yaml_says():
    """Its deps are wider than what it reads (decision 0011), never narrower."""
    params_file = _params()
    params_file.root["ensembles"] = {"few": {"members": ["gru", "gru_attention"]}}
    stage = import_module("pipelines.ensemble.search").declare(params_file, "few")
    assert {path.as_posix() for path in stage.code()} < set().union(
        *_named("ensemble@all").values()
    )
    assert stage.inputs[:2] == (Path("data/seq2seq/gru"), Path("data/seq2seq/gru_attention"))
    assert stage.out == Path("data/decoding/few")


@pytest.mark.parametrize("name", STAGES)
def test_params_equal_sections_loaded(name):
    stage = _declared(name, STAGES[name])
    declared = {key for dep in STAGES[name].deps if hasattr(dep, "params") for key in dep.params}
    assert declared == {key for path in stage.sections for key in _tracked(path)}


def _tracked(path: str) -> set[str]:
    """A section, or its keys where one is for people alone."""
    fields = CorpusParams.model_fields if path == "corpus" else {}
    return {f"{path}.{key}" for key, field in fields.items() if not field.exclude} or {path}


@pytest.mark.parametrize("name", STAGES)
def test_outs_and_instance_are_the_stages_own(name):
    stage = _declared(name, STAGES[name])
    assert stage.instance == name
    assert [Path(out.def_path) for out in STAGES[name].outs] == [stage.out]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pipelines/frame").glob("*.py")), ids=lambda path: path.name
)
def test_frame_moves_bytes_never_numbers(path):
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (
            [ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names
        )
    }
    assert imported.isdisjoint(
        {"torch", "numpy", "lightning", "tokenizers", "transformers", "sacrebleu"}
    )


def test_hardware_and_tracking_are_no_stage_params():
    keys = {
        key
        for stage in STAGES.values()
        for dep in stage.deps
        if hasattr(dep, "params")
        for key in dep.params
    }
    assert not any(key.split(".")[0] in ("hardware", "tracking") for key in keys)


def test_what_other_params_left_is_known_of_every_stage_of_many():
    """A folder whose items params name is cleared of others before a stage reads it whole."""
    raw = YAML().load(ROOT / "dvc.yaml")["stages"]
    named: dict[str, set[str]] = {}
    for stage in raw.values():
        if "foreach" in stage:
            (out,) = stage["do"]["outs"]
            section = stage["foreach"].removeprefix("${").removesuffix("}")
            named.setdefault(out.removesuffix("/${key}"), set()).add(section)
    assert named == {folder: set(sections) for folder, sections in FOLDERS.items()}


def _md5(path: Path) -> str:
    """DVC's: of a file, or of the list of files in a folder."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = sorted(
        file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    return (
        hashlib.md5(json.dumps(sorted(listed, key=lambda one: one["relpath"])).encode()).hexdigest()
        + ".dir"
    )


def test_dvc_lock_is_of_this_code_and_these_params():
    """A lock left behind by an edit would make every fresh clone's run look like a change."""
    lock = plain(read_params(ROOT / "dvc.lock").root)
    params_file = read_params(ROOT / "params.yaml")
    assert set(lock["stages"]) == {
        name
        for name in STAGES
        if not name.startswith(("classification@", "ensemble@")) and name != "diagnosis@word_order"
    }
    stale = set()
    for name, entry in lock["stages"].items():
        for dep in entry["deps"]:
            path = ROOT / dep["path"]
            if dep["path"].startswith("pipelines") and dep["md5"] != _md5(path):
                stale.add(dep["path"])
        for key, value in entry["params"]["params.yaml"].items():
            if plain(params_file.get(key)) != value:
                stale.add(f"{name}: {key}")
    assert not stale, "run `make run` and commit dvc.lock"
