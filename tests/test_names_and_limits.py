"""Names that become paths and commands, and lengths that have to fit, are checked before anything
runs.
"""

import pytest
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML

from flows.search_space import Sweep
from flows.sweep import check_params
from pipelines.frame.errors import ParamsError
from pipelines.frame.params_reader import Name, ParamsFile, read_params
from pipelines.frame.stage import item_argument
from pipelines.params.rules import problems_of
from tests.conftest import ROOT

BAD = [
    "gru small",
    "a/b",
    "gru; touch x",
    "gru@x",
    "../up",
    "-rf",
    "Gru",
    "größe",
    "",
    "a" * 41,
    "x\n",
    "$(x)",
    "a.b",
]
GOOD = ["gru", "gru_attention", "bert2bert", "en", "my-model_2", "a" * 40]


def _document() -> ParamsFile:
    return read_params(ROOT / "params.yaml")


@pytest.mark.parametrize("name", [*BAD, 1, True, 1.5, None])
@pytest.mark.parametrize("mapping", ["seq2seq.architectures", "classification.tasks", "ensembles"])
def test_a_name_that_is_none_is_refused_with_its_line(mapping, name):
    document = _document()
    node = document.root
    for part in mapping.split("."):
        node = node[part]
    node[name] = {}
    (problem,) = problems_of(document)
    assert f"name in {mapping} ({name!r}) must be lower-case letters, digits, _ and -" in problem
    assert problem.startswith(f"{ROOT}/params.yaml:")


def test_the_line_of_a_name_is_the_keys_own(tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("    gru_attention:\n", "    gru; attention:\n"), encoding="utf-8")
    line = 1 + path.read_text(encoding="utf-8").splitlines().index("    gru; attention:")
    (problem,) = problems_of(read_params(path))
    assert problem.startswith(f"{path}:{line}: ")
    path.write_text(text.replace("    gru_attention:\n", "    1:\n"), encoding="utf-8")
    with pytest.raises(ParamsError, match=rf"{path}:{line}: name in .* \(1\) must be lower-case"):
        read_params(path)


@pytest.mark.parametrize("name", BAD)
def test_every_other_name_follows_the_same_pattern(name):
    """A stage's argument, whose folder is removed; languages; sweeps."""
    with pytest.raises(ParamsError, match="must be lower-case letters"):
        item_argument([name], "seq2seq.architectures")
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)
    spec = {"method": {"name": "grid"}, "space": {"seed": [1]}, "target": "a"}
    with pytest.raises(ValidationError):
        Sweep.model_validate({"name": name, **spec})
    document = _document()
    document.root["corpus"]["target_language"] = name
    assert any("corpus.target_language" in problem for problem in problems_of(document))


@pytest.mark.parametrize("name", GOOD)
def test_good_names_pass(name):
    assert item_argument([name], "x") == name
    assert TypeAdapter(Name).validate_python(name) == name


def test_commands_of_dvc_quote_what_params_name():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    commands = [stage["do"]["cmd"] for stage in stages.values() if "do" in stage]
    assert len(commands) == 5
    assert all(command.endswith(" '${key}'") for command in commands)


def _changed(**changes: object) -> ParamsFile:
    document = _document()
    for key, value in changes.items():
        *path, last = key.split("__")
        node = document.root
        for part in path:
            node = node[int(part)] if part.isdigit() else node[part]
        node[last] = value
    return document


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seq2seq__common__bleu_max_length": 400},
            "(128) must be at least seq2seq.common.bleu_max_length",
        ),
        (
            {"bert__training__schedule__warmup_updates": 1100},
            "(1100) must be below the updates of bert.",
        ),
        (
            {"seq2seq__common__updates": 30},
            "warmup_updates (30) must be below seq2seq.common.updates (30)",
        ),
        (
            {"bert__phases__0__ramp": {"from_batch_size": 1, "updates": 1101}},
            "bert.phases[0].ramp.updates (1101) must not exceed the updates of its phase (1100)",
        ),
        (
            {
                "bert__training__schedule": {
                    "name": "warmup_stable_decay", "warmup_updates": 600, "decay_updates": 501,
                    "final_factor": 0.0,
                }
            },
            "decay_updates (501) must fit between warm-up and end (500 of the updates of "
            "bert.phases)",
        ),
    ],
)  # fmt: skip
def test_lengths_have_to_fit_each_other(changes, message):
    problems = problems_of(_changed(**changes))
    assert problems
    assert all(message in problem for problem in problems)


def test_without_translations_at_validation_their_length_does_not_count():
    assert (
        problems_of(_changed(seq2seq__common__bleu_max_length=400, seq2seq__common__bleu_pairs=0))
        == []
    )


def test_every_round_of_a_sweep_is_checked_before_the_first_runs(monkeypatch):
    """Halving starts with few updates: too few for the warm-up of the shipped schedule."""
    monkeypatch.chdir(ROOT)
    method = {
        "name": "halving",
        "samples": 4,
        "budget": "seq2seq.common.updates",
        "smallest": 20,
        "factor": 2,
    }
    spec = {"name": "rates", "space": {"seed": [1, 2]}, "target": "bleu.gru"}
    with pytest.raises(ParamsError) as refused:
        check_params(Sweep.model_validate({**spec, "method": method}))
    assert "sweep rates: params of {'seed': " in str(refused.value)
    assert "'seq2seq.common.updates': 20} break rules; nothing was run" in str(refused.value)
    assert "warmup_updates (30) must be below" in str(refused.value)
    check_params(Sweep.model_validate({**spec, "method": {**method, "smallest": 40}}))
    missing = Sweep.model_validate(
        {**spec, "method": {"name": "grid"}, "space": {"decoding.beam_sise": [1]}}
    )
    with pytest.raises(ParamsError, match=r"beam_sise \(1\) must be one of strategy"):
        check_params(missing)


def test_held_out_text_without_anything_to_measure_is_refused_before_training():
    import torch

    from pipelines.bert.data import DocumentSplit, PretrainingBatches
    from pipelines.bert.module import measure_baselines
    from pipelines.frame.errors import DataError
    from tests.bert.sample import bert_params, two_languages

    params = bert_params()
    (batch, *_) = PretrainingBatches(
        DocumentSplit(two_languages(), 1, "t", 0.15, 300), params
    ).all()
    counts = torch.ones(300)
    assert measure_baselines([batch], counts, 300).uniform_loss > 0
    unmasked = batch._replace(labels_M=batch.labels_M[:0])
    no_rows = batch._replace(nsp_S=batch.nsp_S[:0])
    for nothing, name in (
        ([], "masked tokens"),
        ([unmasked], "masked tokens"),
        ([no_rows], "rows"),
    ):
        with pytest.raises(
            DataError, match=rf"held-out documents: {name} \(0\) must be at least 1"
        ):
            measure_baselines(nothing, counts, 300)
