"""Recipes as people use them: chosen blocks, mistakes, names, going back, and overrides by DVC."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from pipelines.frame.errors import BusyError, ParamsError
from pipelines.frame.params_reader import plain, read_params
from pipelines.frame.processes import exclusive
from pipelines.params.kept import back, changes_now
from pipelines.params.recipes import apply_recipes, recipe_file
from pipelines.params.rules import problems_of
from tests.conftest import ROOT, copy_project, run_in


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def _recipe(params: Path, text: str) -> Path:
    path = params.parent / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _after(params: Path, text: str) -> dict:
    apply_recipes([_recipe(params, text)], params)
    assert problems_of(read_params(params)) == []
    found: dict = plain(read_params(params).root)
    return found


def test_another_reader_needs_no_line_for_what_the_old_one_had(params):
    documents = "{train: {en: a.en, de: a.de}, valid: {en: b.en, de: b.de}}"
    pairs = documents[:-1] + ", test: {en: c.en, de: c.de}}"
    reader = f"{{kind: files, documents: {documents}, pairs: {pairs}, max_words: 60}}"
    after = _after(params, f"corpus: {{reader: {reader}}}\n")
    assert set(after["corpus"]["reader"]) == {"kind", "documents", "pairs", "max_words"}


@pytest.mark.parametrize(
    ("recipe", "path", "block"),
    [
        (
            "decoding: {strategy: {name: sampling, temperature: 1.0, top_k: 0, top_p: 0.9}}",
            "decoding.strategy",
            {"name": "sampling", "temperature": 1.0, "top_k": 0, "top_p": 0.9},
        ),
        (
            "bert: {training: {optimizer: {name: sgd}}}",
            "bert.training.optimizer",
            {"name": "sgd", "weight_decay": 0.01},
        ),
        (
            "bert: {training: {schedule: {name: constant}}}",
            "bert.training.schedule",
            {"name": "constant", "warmup_updates": 110},
        ),
        (  # as recipes had to be written once
            "bert: {training: {optimizer: {name: sgd, beta1: null, bias_correction: null}}}",
            "bert.training.optimizer",
            {"name": "sgd", "weight_decay": 0.01},
        ),
        (
            "seq2seq: {architectures: {gru: {cell: {name: lstm}}}}",
            "seq2seq.architectures.gru.cell",
            {"name": "lstm"},
        ),
        (
            "decoding: {score: {name: gnmt}}",
            "decoding.score",
            {"name": "gnmt", "strength": 1.0, "end_counts": True, "coverage": 0.0},
        ),
    ],
)
def test_a_block_chosen_anew_keeps_what_both_have_and_drops_the_rest(params, recipe, path, block):
    after = _after(params, recipe)
    for part in path.split("."):
        after = after[part]
    assert after == block


def test_another_family_keeps_what_both_have(params):
    shape = "num_encoder_layers: 1, num_decoder_layers: 1, num_heads: 2, feed_forward_width: 64"
    rest = "norm: pre, activation: gelu, positions: sinusoidal, tied: all, attention_dropout: 0.0"
    block = f"{{family: transformer, layers: transformer, {shape}, {rest}, max_positions: 128}}"
    after = _after(params, f"seq2seq: {{architectures: {{gru: {block}}}}}")
    found = after["seq2seq"]["architectures"]["gru"]
    assert found["learning_rate"] == 6.0e-3
    assert not {"cell", "bidirectional", "attention", "bridge"} & set(found)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("decoding: {beam_sise: 3}", "mine.yaml:1: decoding.beam_sise (3) must be one of strategy"),
        ("decoding: {beam_sise: 3}", "did you mean 'beam_size'?"),
        ("seq2seq:\n  comon: {updates: 3}", "mine.yaml:2: seq2seq.comon (a block of updates) must"),
        ("seq2seq:\n  comon: {updates: 3}", "did you mean 'common'?"),
        ("brt: {model: {width: 64}}", "mine.yaml:1: section ('brt') must be one of seed,"),
        ("brt: {model: {width: 64}}", "did you mean 'bert'?"),
        ("decoding: {score: {strenth: 2.0}}", "did you mean 'strength'?"),
        ("decoding: {strategy: {name: baem}}", "decoding.strategy.name ('baem') must be one of"),
        ("decoding: {strategy: {name: baem}}", "did you mean 'beam'?"),
        (
            "decoding: {strategy: {name: sampling, temprature: 1.0, top_k: 0, top_p: 0.9}}",
            "did you mean 'temperature'?",
        ),
        (
            "seq2seq: {architectures: {gruu: null}}",
            "mine.yaml:1: seq2seq.architectures.gruu (None) must be a key of params.yaml to be "
            "removed; did you mean 'gru'?",
        ),
        ("decoding: {beem_size: null}", "did you mean 'beam_size'?"),
        (
            "bert: {phases: [{updates: 9}]}",
            "mine.yaml:1: bert.phases[0].batch_size must be set; a list replaces the whole list",
        ),
        ("bert:\n  model:\n    num_heads: 3", "mine.yaml:3: bert.model.num_heads (3) must divide"),
        ("corpus: {reader: {kind: flies}}", "did you mean 'files'?"),
        ("bert: {training: {gradient_clip: nnone}}", "did you mean 'none'?"),
        ("decoding: {curve: [1, 1]}", "mine.yaml:1: decoding.curve ([1, 1]) must rise"),
        ("tracking: {mode: ofline}", "did you mean 'offline'?"),
    ],
)
def test_a_mistake_in_a_recipe_is_told_with_its_place_and_nothing_is_written(
    params, recipe, message
):
    before = params.read_bytes()
    with pytest.raises(ParamsError) as caught:
        apply_recipes([_recipe(params, recipe + "\n")], params)
    assert message in str(caught.value)
    assert params.read_bytes() == before
    assert changes_now(params) == ([], False)


def test_a_place_is_that_of_the_recipe_that_set_it_last(params, tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("bert:\n  model: {num_heads: 3}\n")
    second.write_text("bert:\n\n  model: {width: 64}\n")
    with pytest.raises(ParamsError, match=r"first\.yaml:2: bert\.model\.num_heads \(3\)"):
        apply_recipes([first, second], params)
    second.write_text("bert:\n\n  model: {num_heads: 5}\n")
    with pytest.raises(ParamsError, match=r"second\.yaml:3: bert\.model\.num_heads \(5\)"):
        apply_recipes([first, second], params)


def test_null_stays_a_value_where_it_is_one(params):
    params.write_text(params.read_text().replace("  entity:  ", "  entity: us"))
    assert _after(params, "tracking: {entity: null}")["tracking"]["entity"] is None


def test_a_recipe_is_found_by_its_name_its_file_and_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in ("words", "words.yaml", "recipes/words.yaml"):
        assert recipe_file(name) == Path("recipes/words.yaml")
    (tmp_path / "cap.yaml").write_text("seed: 2\n")
    assert recipe_file(str(tmp_path / "cap.yaml")) == tmp_path / "cap.yaml"
    assert recipe_file(str(tmp_path / "cap")) == tmp_path / "cap.yaml"
    with pytest.raises(ParamsError, match=r"must be one of all_arch.* did you mean 'multi30k'\?"):
        recipe_file("multi30kk")


def test_no_edit_of_params_is_lost_by_recipes_and_going_back(params):
    original = params.read_text()
    edited = original.replace("seed: 1 ", "seed: 7 ")
    params.write_text(edited)
    apply_recipes([_recipe(params, "seed: 8\n")], params)
    apply_recipes([_recipe(params, "decoding: {beam_size: 9}\n")], params)
    after = params.read_text().replace("seed: 8 ", "seed: 9 ")
    params.write_text(after)
    what, since = changes_now(params)
    assert (len(what), since) == (2, True)
    said = back(params)
    kept = params.parent / ".runs/params"
    (mine,) = kept.glob("edited-*.yaml")
    assert mine.name in said
    assert mine.read_text() == after
    assert "seed: 8 " in params.read_text()
    assert "edits" not in back(params)
    assert params.read_text() == edited
    with pytest.raises(ParamsError, match="git checkout"):
        back(params)


@pytest.mark.parametrize("recipe", [[], ["multi30k"], ["bert_base"], ["all_architectures"]])
def test_dvc_changes_one_line_and_keeps_every_comment(params, recipe):
    if recipe:
        apply_recipes([ROOT / f"recipes/{recipe[0]}.yaml"], params)
    before = params.read_text().splitlines()
    apply_overrides(params, ["decoding.beam_size=10"])
    after = params.read_text().splitlines()
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(differing) == 1
    assert differing[0][1].startswith("  beam_size: 10 ")
    assert problems_of(read_params(params)) == []


def test_the_remedy_for_a_smaller_beam_names_the_second_override(params):
    apply_overrides(params, ["decoding.beam_size=3"])
    (problem,) = problems_of(read_params(params))
    assert "decoding.num_best (5) must not exceed beam_size (3)" in problem
    assert problem.endswith("-S decoding.num_best=3")
    apply_overrides(params, ["decoding.num_best=3"])
    assert problems_of(read_params(params)) == []


@pytest.mark.recipes
def test_plan_check_and_list_take_recipes_and_write_nothing(tmp_path):
    project = copy_project(tmp_path / "project")
    (project / "mine.yaml").write_text("tokenizer: {vocab_size: 150}\n")
    before = (project / "params.yaml").read_bytes()
    module = [sys.executable, "-m"]
    plan = run_in(project, *module, "flows.plan", "mine.yaml", "--until", "tokenizer", "--json")
    planned = {one["name"]: one for one in json.loads(plan.stdout)}
    assert set(planned) == {"corpus", "tokenizer"}
    run_in(project, *module, "pipelines.preflight", "mine.yaml")
    (project / "mine.yaml").write_text("tokenizer: {vocab_size: 1}\n")
    for command in ("flows.plan", "pipelines.preflight"):
        unknown = run_in(project, *module, command, "mein", check=False)
        assert unknown.returncode == 2
        assert "recipe ('mein') must be one of" in unknown.stderr
    refused = run_in(project, *module, "pipelines.preflight", "mine.yaml", check=False)
    assert "mine.yaml:1: tokenizer.vocab_size (1) must be at least 64" in refused.stderr
    assert (project / "params.yaml").read_bytes() == before
    (project / "recipes/mine.yaml").write_text("# Mine.\nseed: 3\n")
    run_in(project, *module, "pipelines.params", "apply", "mine")
    listed = run_in(project, *module, "pipelines.params", "list").stdout
    (row,) = [line.split() for line in listed.splitlines() if line.startswith("mine ")]
    assert row == ["mine", "yes", "Mine."]
    assert "was changed by" in listed
    assert max(map(len, listed.splitlines())) <= 100
    applied = run_in(project, *module, "pipelines.params", "apply", "mine").stdout
    assert "applied already" in applied


def test_help_is_help():
    command = [sys.executable, "-m", "pipelines.params", "apply", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "RECIPE" in result.stdout


def test_nobody_changes_params_under_a_run(params):
    """Its later stages would take the others."""
    recipe = _recipe(params, "seed: 8\n")
    apply_recipes([recipe], params)
    after = params.read_bytes()
    for lock in (".runs/run.lock", ".runs/flow.lock", ".runs/bert/lock"):
        with exclusive(params.parent / lock):
            for change in (
                lambda: back(params),
                lambda: apply_recipes([_recipe(params, "seed: 9\n")], params),
            ):
                with pytest.raises(BusyError, match=rf"process {os.getpid()} works here, and"):
                    change()
        assert params.read_bytes() == after
    back(params)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            "bert:\n  training:\n    optimizer: {name: momentum}",
            "mine.yaml:3: bert.training.optimizer.momentum must be set; a block of name: momentum "
            "has name, momentum, weight_decay",
        ),
        (
            "decoding: {strategy: {name: diverse}}",
            "mine.yaml:1: decoding.strategy.groups must be set; a block of name: diverse has name, "
            "groups, penalty",
        ),
        (
            "seq2seq: {architectures: {gru_atention: {dropout: 0.1}}}",
            "mine.yaml:1: seq2seq.architectures.gru_atention.family must be set; did you mean "
            "'gru_attention'?",
        ),
    ],
)
def test_what_a_new_choice_needs_is_told_at_its_place(params, recipe, message):
    with pytest.raises(ParamsError) as caught:
        apply_recipes([_recipe(params, recipe + "\n")], params)
    assert message in str(caught.value)
