"""All stages of a params file in one process, without DVC: whole pipelines in seconds."""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pipelines.params.recipes import apply_recipes
from tests.conftest import ROOT, run_in, watched

_ONCE = (
    ("pipelines.corpus.prepare", "prepare"),
    ("pipelines.tokenizer.train", "train"),
    ("pipelines.shards.write", "write"),
    ("pipelines.bert.pretrain", "pretrain"),
)
_EACH = (
    ("classification.tasks", "pipelines.classification.classify", "classify"),
    ("seq2seq.architectures", "pipelines.seq2seq.finetune", "finetune"),
    ("seq2seq.architectures", "pipelines.decoding.decode", "decode"),
    ("ensembles", "pipelines.ensemble.search", "search_together"),
    ("diagnosis.models", "pipelines.diagnosis.diagnose", "diagnose"),
)
_LAST = (("pipelines.evaluation.evaluate", "score"), ("pipelines.report.write", "write"))


def checkout(folder: Path, *recipes: Path) -> Path:
    """A folder that looks like a checkout, with recipes applied; the code is the one under test.

    One that is there keeps what it holds, but for its params.
    """
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    for name in ("pipelines", "tests", "recipes", "data/raw/embedded"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(ROOT / name)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with contextlib.chdir(folder):
        apply_recipes(recipes)
    return folder


def run(*folders: Path, **environment: str) -> str:
    """All stages in each folder, one process for all; what they printed, the results tables among
    it.
    """
    script = f"from tests.whole_pipeline import run_all; run_all({list(map(str, folders))!r})"
    told = {"WANDB_MODE": "disabled", **watched(folders[0]), **environment}
    printed = run_in(folders[0], sys.executable, "-c", script, **told).stdout
    assert not (folders[0] / "network").exists(), (folders[0] / "network").read_text()
    return printed


def run_all(folders: Sequence[str]) -> None:
    """In one folder after the other; ends the process where a stage fails."""
    from pipelines.frame.params_reader import read_params
    from pipelines.preflight.__main__ import main as preflight
    from pipelines.report.page import main as page
    from pipelines.report.table import main as table

    for folder in folders:
        os.chdir(folder)
        sys.argv = ["preflight"]
        _must(preflight(), "preflight")
        for module, compute in _ONCE:
            _stage(module, compute, ())
        params_file = read_params()
        for mapping, module, compute in _EACH:
            for item in params_file.get(mapping):
                _stage(module, compute, (item,))
        for module, compute in _LAST:
            _stage(module, compute, ())
        _must(page(), "page")
        _must(table(), "table")


def _stage(module: str, compute: str, item: Sequence[str]) -> None:
    from pipelines.frame.stage import run_stage

    code = import_module(module)
    _must(
        run_stage(lambda params_file: code.declare(params_file, *item), getattr(code, compute)),
        " ".join([module, *item]),
    )


def _must(exit_code: int, what: str) -> None:
    if exit_code:
        sys.stdout.flush()
        print(f"{what} ended with {exit_code}", file=sys.stderr, flush=True)
        os._exit(exit_code)
