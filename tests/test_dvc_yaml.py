"""dvc.yaml against the code: the import graph is the re-run set."""

import ast
import contextlib
import hashlib
import shlex
import shutil
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipelines.frame.imports import FRAME
from pipelines.frame.params_reader import Document, plain, read_document
from pipelines.frame.stage import Stage
from tests.conftest import ROOT


def _params() -> Document:
    """The shipped params with the tasks of a recipe and an ensemble, so that the optional stages exist too."""
    document = read_document(ROOT / "params.yaml")
    document.root["classification"]["tasks"] = read_document(ROOT / "recipes/classification.yaml").root[
        "classification"
    ]["tasks"]
    document.root["ensembles"] = {"all": {"members": list(document.get("seq2seq.architectures"))}}
    return document


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
    document = _params()
    return declare(document, *words[3:])


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _expand(path: Path) -> set[str]:
    """A folder of code stands for the modules in it; `__init__` files of docstrings are no code."""
    if path.is_dir() and path.parts[0] == "pipelines":
        modules = [file for file in path.glob("*.py") if len(ast.parse(file.read_text()).body) > 1]
        return {file.as_posix() for file in modules}
    return {path.as_posix()}


@pytest.mark.parametrize("name", STAGES)
def test_deps_equal_imported_code_and_data_read(name):
    stage = _declared(name, STAGES[name])
    paths = [Path(dep.def_path) for dep in STAGES[name].deps if not hasattr(dep, "params")]
    declared = {part for path in paths for part in _expand(path)}
    data = {path.as_posix() for path in stage.inputs}
    if name in ("evaluation", "report", "ensemble@all"):  # one folder per architecture, DVC depends on the parent
        data = {
            "/".join(path.split("/")[:2]) if path.split("/")[1] in ("decoding", "seq2seq") else path for path in data
        }
    assert declared == {path.as_posix() for path in stage.code()} | data


def test_an_ensemble_of_few_reads_no_more_than_dvc_yaml_says():
    """Its deps are wider than what it reads (decision 0011), never narrower."""
    document = _params()
    document.root["ensembles"] = {"few": {"members": ["gru", "gru_attention"]}}
    stage = import_module("pipelines.decoding.decode_ensemble").declare(document, "few")
    paths = [Path(dep.def_path) for dep in STAGES["ensemble@all"].deps if not hasattr(dep, "params")]
    declared = {part for path in paths for part in _expand(path)}
    assert {path.as_posix() for path in stage.code()} < declared
    assert stage.inputs[:2] == (Path("data/seq2seq/gru"), Path("data/seq2seq/gru_attention"))
    assert stage.out == Path("data/decoding/few")


@pytest.mark.parametrize("name", STAGES)
def test_params_equal_sections_loaded(name):
    stage = _declared(name, STAGES[name])
    declared = {key for dep in STAGES[name].deps if hasattr(dep, "params") for key in dep.params}
    assert declared == set(stage.sections)


@pytest.mark.parametrize("name", STAGES)
def test_outs_and_instance_are_the_stages_own(name):
    stage = _declared(name, STAGES[name])
    assert stage.instance == name
    assert [Path(out.def_path) for out in STAGES[name].outs] == [stage.out]


@pytest.mark.parametrize("path", sorted(FRAME))
def test_frame_moves_bytes_never_numbers(path):
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert imported.isdisjoint({"torch", "numpy", "lightning", "tokenizers", "transformers", "sacrebleu"})


def test_hardware_and_tracking_are_no_stage_params():
    keys = {key for stage in STAGES.values() for dep in stage.deps if hasattr(dep, "params") for key in dep.params}
    assert not any(key.split(".")[0] in ("hardware", "tracking") for key in keys)


def test_dvc_lock_is_of_this_code_and_these_params():
    """A lock left behind by an edit would make every fresh clone's run look like a change."""
    lock = plain(read_document(ROOT / "dvc.lock").root)
    document = read_document(ROOT / "params.yaml")
    assert set(lock["stages"]) == {name for name in STAGES if not name.startswith(("classification@", "ensemble@"))}
    stale = set()
    for name, entry in lock["stages"].items():
        for dep in entry["deps"]:
            path = ROOT / dep["path"]
            if path.is_file() and dep["md5"] != hashlib.md5(path.read_bytes()).hexdigest():
                stale.add(dep["path"])
        for key, value in entry["params"]["params.yaml"].items():
            if plain(document.get(key)) != value:
                stale.add(f"{name}: {key}")
    assert not stale, "run `make run` and commit dvc.lock"
