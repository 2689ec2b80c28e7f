"""README, docs and CONTRIBUTING: links lead somewhere, and every command runs in some test."""

import re
import shlex
import sys

import pytest

from tests.conftest import ROOT, run_in

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
TAUGHT = [path for path in PAGES if path.parent in (ROOT, ROOT / "docs")]  # how to do something

# Commands that another test runs, or a service stands behind: how they begin → where, and a word
# that the test says when it does.
ELSEWHERE = {
    "make run RECIPE=": ("tests/test_whole_recipes.py", "recipes"),
    "make run": (".ci/run", "make run"),
    "python -m pipelines.params new": ("tests/params/test_new.py", "make plan RECIPE=mine"),
    "python -m pipelines.corpus.fetch": ("tests/corpus/test_fetch.py", "pipelines.corpus.fetch"),
    "python -m pipelines.corpus.try": ("tests/corpus/test_fetch.py", '"pipelines.corpus.try"'),
    "uv ": ("tests/test_own_environment.py", '"uv"'),
    "make lint": (".ci/run", "make lint"),
    "make speed": ("tests/watch/test_limits.py", "pipelines.speed"),
    "make optimizers": ("tests/laboratory/test_laboratory.py", "pipelines.laboratory"),
    "make test": (".ci/run", "make test"),
    "make test-faults": (".ci/run", "make test-faults"),
    "make test-recipes": ("Makefile", "test-recipes"),
    "make compare A=": ("tests/report/test_compare.py", "compare.main("),
    "python -m pipelines.tracking": ("tests/tracking/test_sync.py", "sync("),
    "make docs-check": ("Makefile", "docs-check"),
    "make flow": ("tests/flows/test_flows.py", "flows.pipeline"),
    "make ui": ("tests/flows/test_ui.py", "flows.ui"),
    "make verify": ("tests/flows/test_verify.py", "flows.verify"),
    "dvc exp save": ("tests/report/test_comparing.py", '"exp", "save"'),
    "make chaos": ("tests/reliability/test_chaos.py", "chaos"),
    "dvc exp run": ("tests/test_end_to_end.py", '"exp", "run"'),
    "dvc remote": ("tests/test_remotes.py", '"remote", "add"'),
    "dvc push": ("tests/test_remotes.py", '"push"'),
    "dvc pull": ("tests/test_remotes.py", '"pull"'),
    "dvc repro classification": ("tests/classification/test_classifier.py", '"repro"'),
    "cat data/classification": ("tests/classification/test_classifier.py", "metrics.json"),
    "python -m flows.sweep": ("tests/flows/test_sweep.py", "flows.sweep"),
    "python -m flows.ui": ("tests/flows/test_ui.py", "flows.ui"),
    "python -m pipelines.exports.ctranslate2": ("tests/exports/test_ctranslate2.py", "main(given)"),
    "python -m pipelines.release": ("tests/release/test_handed_over.py", "docs/release.md"),
    "openssl ": ("tests/release/test_handed_over.py", "docs/release.md"),
    'echo "The ships are old." | python -m pipelines.translate --release': (
        "tests/release/test_handed_over.py",
        "docs/release.md",
    ),
    "python -m flows.watch": ("tests/flows/test_watch.py", "flows.watch"),
    "python -m flows.push": ("tests/flows/test_push.py", "flows.push"),
    "export PREFECT_SERVER_API_AUTH_STRING": (
        "tests/flows/test_browser_tls.py",
        "PREFECT_SERVER_API_AUTH_STRING",
    ),
    "export PREFECT_API_AUTH_STRING": (
        "tests/flows/test_browser_tls.py",
        "PREFECT_API_AUTH_STRING",
    ),
    "export PREFECT_API_URL": ("tests/flows/served.py", "PREFECT_API_URL"),
    "prefect worker start": ("flows/ui.py", '"worker", "start"'),
    "torchrun": ("tests/machines.py", "c10d"),
    "createdb": ("tests/flows/test_postgres.py", "postgresql"),
    "export PREFECT_SERVER_DATABASE": (
        "tests/flows/test_postgres.py",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    ),
    "pip install": ("pyproject.toml", "dvc-s3"),
}


def _commands() -> list[str]:
    """Lines of all ``sh`` blocks, without comments, in order; each once, but for going back."""
    found = []
    for page in TAUGHT:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            if block.startswith("python -c"):
                found.append(block)
                continue
            lines = (line.split("  #")[0].strip() for line in block.splitlines())
            found += [line for line in lines if line]
    return [
        command
        for number, command in enumerate(found)
        if command.startswith("git checkout") or command not in found[:number]
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_text_has_at_most_a_hundred_columns(page):
    """Tables apart, whose rows cannot be broken, and commands of one line."""
    blocks = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    lines = [line for line in blocks.splitlines() if not line.startswith(("|", "!["))]
    assert [line for line in lines if len(line) > 100] == []


def test_readme_is_short():
    assert (ROOT / "README.md").read_text("utf-8").count("\n") <= 140


def test_code_that_docs_name_is_there():
    for page in TAUGHT:
        for name in re.findall(
            r"`((?:pipelines|flows|tests|docs|recipes)/[\w./-]+)`", page.read_text("utf-8")
        ):
            if name != "recipes/mine.yaml":  # the reader's own
                assert (ROOT / name).exists(), f"{page.name}: {name}"
    text = (ROOT / "docs/how-it-works.md").read_text("utf-8")
    for name, symbol in re.findall(r"`([\w/]+\.py):([\w.]+)`", text):
        source = (ROOT / "pipelines" / name).read_text("utf-8")
        assert re.search(rf"(class|def) {symbol.split('.')[-1]}\b", source), f"{name}:{symbol}"
    for names in re.findall(r"^\|.*\|$", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M):
        for name in re.findall(r"`([\w/]+/[\w.]+)`", names):
            assert (ROOT / "pipelines" / name).exists() or (ROOT / name).exists(), name


@pytest.mark.parametrize("command", [one for one in _commands() if one.startswith("make ")])
def test_make_knows_the_target(command):
    printed = run_in(ROOT, "make", "--dry-run", *shlex.split(command)[1:]).stdout
    recipe = {line.split()[0].lstrip("@") for line in printed.splitlines() if line.strip()}
    assert recipe & {"python", "pytest", "dvc", "ruff"}, printed


def test_the_list_of_targets_aligns_and_fits_a_terminal():
    # Without it, a make within a make (`make test`) says which folder it enters.
    lines = run_in(ROOT, "make", "--no-print-directory", "help").stdout.splitlines()
    assert len(lines) > 20
    assert {line.index(line[line.index("make ") + 5 :].split(None, 1)[1]) for line in lines} == {24}
    assert max(map(len, lines)) <= 80


def test_every_command_runs_in_a_test(reproduced_copy):
    """Those that take seconds, here; the others, in the test that is named for them."""
    (reproduced_copy / "sentences.txt").write_text("The cow is small.\n")
    run_in(reproduced_copy, "git", "add", "dvc.lock")
    run_in(reproduced_copy, "git", "commit", "-qm", "reproduced")
    here = {
        "make check": f"{sys.executable} -m pipelines.preflight",
        "make check RECIPE=characters": f"{sys.executable} -m pipelines.preflight characters",
        "make plan": f"{sys.executable} -m flows.plan",
        "make plan RECIPE=characters": f"{sys.executable} -m flows.plan characters",
        "make compare": f"{sys.executable} -m flows.compare",
    }
    ran = []
    for command in _commands():
        known = [start for start in ELSEWHERE if command.startswith(start)]
        if known:
            path, word = ELSEWHERE[max(known, key=len)]
            assert word in (ROOT / path).read_text("utf-8"), command
            continue
        run_in(reproduced_copy, "bash", "-c", here.get(command, command))
        ran.append(command)
    assert len(ran) >= 5, ran
