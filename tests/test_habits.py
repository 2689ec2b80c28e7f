"""The habits hold: pre-commit's tools are `make lint`'s, and its hooks pass on this tree."""

import re

from ruamel.yaml import YAML

from tests.conftest import ROOT, run_in


def test_pre_commit_runs_the_tools_of_make_lint():
    config = YAML(typ="safe").load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    hooks = {hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]}
    assert all(entry.startswith(".venv/bin/") for entry in hooks), "another version than make lint"
    recipe = re.search(r"^lint:.*?\n\n", (ROOT / "Makefile").read_text("utf-8"), re.M | re.S)
    tools = {line.split()[0] for line in recipe.group().splitlines()[1:] if line.strip()}
    assert {f".venv/bin/{tool}" for tool in tools} <= hooks
    pinned = (ROOT / "constraints.txt").read_text("utf-8").replace("_", "-")
    for entry in hooks:
        tool = entry.rpartition("/")[2]
        package = "pre-commit-hooks" if tool.startswith("check-") else tool
        assert f"\n{package}==" in pinned, package


def test_no_tracked_file_is_large_and_all_yaml_is_yaml():
    files = run_in(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.split()
    sizes = {name: (ROOT / name).stat().st_size for name in files if (ROOT / name).is_file()}
    assert [name for name, size in sizes.items() if size > 512 * 1024] == []
    assert sum(sizes.values()) < 20 * 2**20
    for name in files:
        if name.endswith((".yaml", ".yml")):
            list(YAML(typ="safe").load_all((ROOT / name).read_text("utf-8")))
