"""The shipped params and recipes, the rules that span sections, and applying overlays."""

import json
import re
import shutil
from pathlib import Path

import pytest

from pipelines.frame.errors import ParamsError
from pipelines.frame.params_reader import plain, read_params
from pipelines.params.recipes import apply_recipes
from pipelines.params.rules import problems_of
from tests.conftest import ROOT


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def test_problems_of_shipped_params_none():
    assert problems_of(read_params(ROOT / "params.yaml")) == []


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_apply_recipe_shipped_gives_valid_params_and_is_idempotent(params, recipe):
    assert apply_recipes([recipe], params)
    assert problems_of(read_params(params)) == []
    assert apply_recipes([recipe], params) == []


def test_coverage_is_refused_where_something_has_no_attention_of_its_own(params):
    text = params.read_text().replace("    coverage: 0.0 ", "    coverage: 0.2 ")
    params.write_text(
        text.replace("ensembles: {} ", "ensembles: {both: {members: [transformer, bert2bert]}} ")
    )
    found = [problem for problem in problems_of(read_params(params)) if "coverage" in problem]
    assert len(found) == 2
    for problem, name in zip(found, ("gru", "both"), strict=True):
        assert "decoding.score.coverage (0.2) must be 0" in problem
        assert f"no attention of its own ({name})" in problem


def test_apply_recipe_keeps_comments_merges_replaces_and_deletes(params, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "bert: {model: {num_layers: 3}}\n"
        "seq2seq: {architectures: {gru: null, bert2bert: {num_layers: 3}}}\n"
        "evaluation: {comparisons: []}\n"
        "diagnosis: {models: {gru: null}}\n"
    )
    changes = apply_recipes([recipe], params)
    after = plain(read_params(params).root)
    assert after["bert"]["model"]["num_layers"] == 3
    assert after["bert"]["model"]["width"] == 128
    assert "gru" not in after["seq2seq"]["architectures"]
    assert after["evaluation"]["comparisons"] == []
    assert "bert.model.num_layers: 2 → 3" in changes
    assert "# every random choice follows from it" in params.read_text()


def test_apply_recipes_one_over_the_other_only_the_result_must_be_valid(params, tmp_path):
    half, other = tmp_path / "half.yaml", tmp_path / "other.yaml"
    half.write_text("decoding: {num_best: 9}\n")
    other.write_text("decoding: {beam_size: 10}\n")
    changes = apply_recipes([half, other], params)
    assert changes == ["decoding.beam_size: 5 → 10", "decoding.num_best: 5 → 9"]


def test_apply_recipe_merge_keys_are_written_out(params, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    block = read_params(ROOT / "recipes/all_architectures.yaml").root["seq2seq"]["architectures"][
        "lstm"
    ]
    lines = "".join(f"      {key}: {json.dumps(plain(value))}\n" for key, value in block.items())
    recipe.write_text(
        f"seq2seq:\n  architectures:\n    one: &one\n{lines}    two: {{<<: *one, width: 20}}\n"
    )
    apply_recipes([recipe], params)
    blocks = plain(read_params(params).root)["seq2seq"]["architectures"]
    assert blocks["two"] == blocks["one"] | {"width": 20}
    assert "<<" not in params.read_text()


def test_apply_recipe_aliased_blocks_are_blocks_of_their_own(params, tmp_path):
    recipe, later = tmp_path / "recipe.yaml", tmp_path / "later.yaml"
    block = plain(read_params(ROOT / "params.yaml").root)["seq2seq"]["architectures"]["gru"]
    recipe.write_text(f"seq2seq: {{architectures: {{one: &one {json.dumps(block)}, two: *one}}}}\n")
    later.write_text("seq2seq: {architectures: {two: {width: 20, cell: {reset_after: false}}}}\n")
    apply_recipes([recipe], params)
    apply_recipes([later], params)
    blocks = plain(read_params(params).root)["seq2seq"]["architectures"]
    assert blocks["one"] == block
    assert blocks["two"] == block | {"width": 20, "cell": {"name": "gru", "reset_after": False}}


def test_problem_of_a_key_that_a_recipe_brought_is_told_without_its_line(params, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    block = plain(read_params(ROOT / "params.yaml").root)["seq2seq"]["architectures"][
        "bert2bert"
    ] | {"width": 64}
    recipe.write_text(json.dumps({"seq2seq": {"architectures": {"brought": block}}}))
    with pytest.raises(
        ParamsError, match=r"architectures.brought.width \(64\) must equal bert.model.width \(128\)"
    ):
        apply_recipes([recipe], params)


def test_apply_recipe_that_breaks_a_rule_writes_nothing(params, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("bert: {model: {num_heads: 3}}\n")
    before = params.read_bytes()
    with pytest.raises(ParamsError, match=r"num_heads \(3\) must divide width \(128\)"):
        apply_recipes([recipe], params)
    assert params.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  width: 128\n", "  width: 256\n", "must equal bert.model.width (256)"),
        (
            "max_sentence_tokens: 64",
            "max_sentence_tokens: 200",
            "must be at least shards.max_sentence_tokens + 2 (202)",
        ),
        ("max_length: 48", "max_length: 500", "must be at least decoding.max_length (500)"),
        ("baseline: rnd2rnd", "baseline: rnd3rnd", "('rnd3rnd') must be one of gru"),
        ("decoding:\n", "decodign:\n", "section ('decodign') must be one of"),
        (
            "family: recurrent",
            "family: recurent",
            "must be one of bert2bert, recurrent, transformer",
        ),
        (
            "      starts_from: data/bert\n",
            "      starts_from: data/brt\n",
            "did you mean 'data/bert'",
        ),
        (
            "strip_accents: false",
            "strip_accents: true",
            "evaluation.strip_accents (False) must be true where",
        ),
        (
            "ensembles: {}",
            "ensembles: {both: {members: [gru, gruu]}}",
            "members[1] ('gruu') must be one of gru,",
        ),
        (
            "ensembles: {}",
            "ensembles: {both: {members: [gru, gru]}}",
            "members (gru, gru) must differ",
        ),
        ("ensembles: {}", "ensembles: {both: {members: [gru]}}", "ensembles.both.members"),
        (
            "ensembles: {}",
            "ensembles: {gru: {members: [gru, transformer]}}",
            "must not be named like an architecture",
        ),
        ("num_best: 5", "num_best: 6", "num_best (6) must not exceed beam_size (5)"),
        (
            "max_length: 96",
            "max_length: 129",
            "phases[0].max_length (129) must not exceed model.max_positions",
        ),
        ("target_language: de", "target_language: en", "must differ"),
        (
            "lowercase: false",
            "lowercase: true",
            "evaluation.lowercase (False) must be true where tokenizer.lowercase",
        ),
        ("seed: 1 ", "seed: -1 ", "seed (-1)"),
        ("seed: 1 ", "seed: 2026-11-23 ", "seed ('2026-11-23')"),
        ("num_heads: 4", "num_heads: 3", "num_heads (3) must divide width (128)"),
        ("raw: data/raw/embedded", "raw: /etc", "must be a folder below data/raw"),
    ],
)
def test_problems_of_broken_rule_is_named(params, old, new, message):
    params.write_text(params.read_text().replace(old, new, 1))
    assert message in "\n".join(problems_of(read_params(params)))


def test_every_leaf_of_params_is_read_by_some_code():
    code = "\n".join(
        path.read_text()
        for path in (ROOT / "pipelines").rglob("*.py")
        if path.name not in ("params.py", "__init__.py")
    )
    root = plain(read_params(ROOT / "params.yaml").root)

    def leaves(node: dict, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        return [
            leaf
            for key, value in node.items()
            for leaf in (leaves(value, (*path, key)) if isinstance(value, dict) else [(*path, key)])
        ]

    # `layers` is read by dvc.yaml, `kind` chooses the reader's schema.
    unread = [
        ".".join(path)
        for path in leaves(root)
        if path[-1] not in ("layers", "kind", "seed") and not re.search(rf"[.\"]{path[-1]}\b", code)
    ]
    assert unread == []
