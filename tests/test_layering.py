"""Who may import whom, and how long things may get."""

import ast
import sys

import pytest

from pipelines.frame.imports import code_of
from tests.conftest import ROOT, run_in
from tests.rooms import FLOORS, house, imports, running_up

FILES = sorted(
    [
        *(ROOT / "pipelines").rglob("*.py"),
        *(ROOT / "flows").rglob("*.py"),
        *(ROOT / "benchmarks").glob("*.py"),
    ]
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_arrow_between_rooms_runs_down():
    graph = house()
    assert set(graph) == {room for floor in FLOORS for room in floor}
    assert running_up(graph) == []


def test_the_picture_in_the_docs_is_of_these_floors():
    drawn = (ROOT / "docs/internals.md").read_text(encoding="utf-8").split("```")[1]
    floors = [tuple(line.split()) for line in drawn.strip().splitlines()]
    assert floors == [floor for floor in FLOORS if floor not in (("benchmarks",), ("flows",))]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("nn", ("lightning",)),
        ("models", ("lightning",)),
        ("optim", ("lightning",)),
        ("evaluation", ("torch", "lightning")),
        ("decoding", ("lightning",)),
        ("translate", ("lightning",)),
    ],
)
def test_package_does_not_import(package, forbidden):
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "pipelines" / package).rglob("*.py")
    ]
    files = [
        ROOT / path for path in code_of([module.removesuffix(".__init__") for module in modules])
    ]
    found = {
        (path.name, name) for path in files for name in imports(path) if name.startswith(forbidden)
    }
    assert found == set()


def test_tables_and_pages_are_there_without_torch():
    """What a terminal or a browser waits for; the stage alone looks into models."""
    modules = ("pipelines.report.page", "pipelines.report.table", "pipelines.report.scores")
    script = f"import sys, {', '.join(modules)}; assert 'torch' not in sys.modules"
    run_in(ROOT, sys.executable, "-c", script)


def test_wandb_is_imported_by_tracking_alone():
    assert [path.name for path in FILES if "wandb" in imports(path)] == ["tracking.py"]


def test_stages_never_import_all_params():
    users = [path for path in FILES if "pipelines.params.rules" in imports(path)]
    rooms = {path.relative_to(ROOT).parts[:-1][:2] for path in users}
    assert rooms <= {("pipelines", "params"), ("pipelines", "preflight"), ("flows",)}


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
            assert node.end_lineno - node.lineno + 1 - docstring <= 60, node.name
            assert len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) <= 8, (
                node.name
            )


def test_constraints_have_no_local_versions():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line and "+" not in line for line in lines)
    assert "torch==2.13.0" in lines
