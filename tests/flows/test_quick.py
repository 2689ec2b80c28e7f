"""Every stage in a minute, beside a checkout that is in the midst of something."""

import json
import sys

import pytest

from tests.conftest import copy_project, run_in

EDITED = '''def write(run: StageRun) -> Metrics:
    """Write the report into ``run.work``.
'''


@pytest.mark.recipes
def test_quick_has_this_code_and_its_own_sizes_and_changes_nothing_here(tmp_path):
    project = copy_project(tmp_path / "project")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("seed: 1 ", "seed: 5 "))
    (project / "recipes/mine.yaml").write_text("# Not committed.\nseed: 6\n")
    path = project / "pipelines/report/write.py"
    text = path.read_text()
    assert EDITED in text
    path.write_text(text.replace(EDITED, EDITED + "\n    Edited and not committed.\n"))
    before = run_in(project, "git", "status", "--porcelain").stdout
    printed = run_in(project, sys.executable, "-m", "flows.quick").stdout
    assert "bert2bert" in printed
    assert "gru_attention" in printed
    assert run_in(project, "git", "status", "--porcelain").stdout == before
    assert not (project / "data/corpus").exists()
    quick = project / ".runs/experiments/quick"
    assert "Edited and not committed." in (quick / "pipelines/report/write.py").read_text()
    assert (quick / "recipes/mine.yaml").exists()
    scores = json.loads((quick / "data/report/scores.json").read_text())
    assert set(scores["bleu"]) == {"gru_attention", "bert2bert"}
    made = json.loads((quick / "data/corpus/metrics.json").read_text())
    assert made["origin"]["seed"] == 5  # other edits of params.yaml count
    path.write_text(text)  # and again: what is gone here is gone there, the rest is cached
    (project / "recipes/mine.yaml").unlink()
    again = run_in(project, sys.executable, "-m", "flows.quick").stdout
    assert "Running stage 'bert'" not in again
    assert not (quick / "recipes/mine.yaml").exists()
