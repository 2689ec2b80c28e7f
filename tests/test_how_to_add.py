"""CONTRIBUTING's "How to add" as it stands: a metric, an optimizer, a reader, a family and a stage
in one scratch copy, which then runs. Marked ``recipes``: `make test-recipes`.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_in
from tests.how_to_add import ALL, Edit
from tests.whole_pipeline import run

LAID_OVER = """\
corpus:
  raw: data/raw/mine
  reader:
    kind: sources
    sources:
      train: &table {kind: table, files: [train.tsv], fields: {en: 1, de: 2}, sentences: lines,
        split: train, weight: 1.0}
      valid: {<<: *table, files: [valid.tsv], split: valid}
      test: {<<: *table, files: [test.tsv], split: test}
    filters: [{name: shouting, applies_to: all, max_share: 0.5}]
    splits: {documents: {valid: 2}, pairs: {valid: 1, test: 1}}
    make: documents
seq2seq:
  common: {optimizer: {beta1: 0.9, beta2: 0.99, name: nadam, epsilon: 1.0e-8,
    bias_correction: null, weight_decay: 0.01}}
  architectures: {gru_attention: null, transformer: null, rnd2rnd: null, bert2bert: null}
evaluation: {comparisons: [{system: bag, baseline: gru}]}
"""


def _edit(folder: Path, edits: list[Edit]) -> None:
    for name, old, new in edits:
        path = folder / name
        if old is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name}: {old}"
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("heading", ALL)
def test_contributing_names_every_file_that_is_edited(heading):
    """A file that has to be touched and is not named would be a stumble."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = next(
        part for part in re.split(r"^### ", text, flags=re.M) if part.startswith(heading)
    )
    for name, old, _ in ALL[heading]:
        known = name if old is not None else f"{Path(name).parent.as_posix()}/"
        if name.startswith("pipelines/words/"):
            known = "pipelines/"
        shown = Path(known).name if f"`{known}`" not in section else known
        assert f"`{shown}`" in section, f"{heading}: {known}"


@pytest.mark.recipes
def test_all_five_added_at_once_run_to_the_results_table(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    for name in ("pipelines", "flows", "benchmarks", "docs", "recipes", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, project)
    (project / "data/raw/mine").mkdir(parents=True)
    for split, size in (("train", 200), ("valid", 12), ("test", 12)):
        rows = [f"{split} a {n % 10} {n}\t{split} x {n % 10} {n}\n" for n in range(size)]
        rows += ["A LOUD ONE\tein lautes\n"] * (split == "train")
        (project / f"data/raw/mine/{split}.tsv").write_text("".join(rows))
    for edits in ALL.values():
        _edit(project, edits)
    checks = ["tests/test_layering.py", "tests/test_dvc_yaml.py", "tests/params/test_rules.py"]
    selected = "rooms or imports or reads or sections or outs or every_key"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *checks]
    run_in(project, *command, "-k", selected)
    recipe = project / "mine.yaml"
    recipe.write_text(LAID_OVER)
    tiny = "tests/params.tiny.yaml"
    text = (project / tiny).read_text()
    (project / tiny).write_text(re.sub(r"^corpus:\n  reader: .*\n", "", text, flags=re.M))
    apply = [sys.executable, "-m", "pipelines.params", "apply"]
    run_in(project, *apply, tiny, "mine.yaml")
    printed = run(project)
    assert "bag" in printed
    report = json.loads((project / "data/corpus/report.json").read_text())
    assert report["sources"]["train"]["dropped"]["shouting"]["count"] == 1
    scored = json.loads((project / "data/evaluation/metrics.json").read_text())["evaluation"]
    assert 0 <= scored["architectures"]["bag"]["beam"]["first_word"] <= 1
    model = json.loads((project / "data/seq2seq/bag/model.json").read_text())
    assert model["architecture"]["family"] == "bag"
    run_in(project, sys.executable, "-m", "pipelines.words.count", WANDB_MODE="disabled")
    words = json.loads((project / "data/words/metrics.json").read_text())["words"]
    assert words["a"] == words["train"] == 200
