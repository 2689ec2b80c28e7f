"""The stage on trained models: crossings, determinism, bad input."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from pipelines.diagnosis.diagnose import declare, diagnose
from pipelines.frame.errors import OutOfMemory
from pipelines.frame.params_reader import read_params
from pipelines.frame.stage import run_stage
from tests.conftest import run_in

MODELS = {
    "bert": "bert",
    "gru_attention": "seq2seq.architectures.gru_attention",
    "transformer": "seq2seq.architectures.transformer",
    "bert2bert": "seq2seq.architectures.bert2bert",
}


@pytest.fixture
def project(reproduced_copy, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    models = {
        name: {
            "section": section,
            "trained": "data/bert" if name == "bert" else f"data/seq2seq/{name}",
            "data": "data/shards",
            "update": "last",
        }
        for name, section in MODELS.items()
    }
    _apply(diagnosis={"models": models})
    return reproduced_copy


def _apply(**sections):
    Path("overlay.yaml").write_text(json.dumps(sections))
    run_in(Path.cwd(), sys.executable, "-m", "pipelines.params", "apply", "overlay.yaml")


def _diagnosed(name):
    code = run_stage(lambda params_file: declare(params_file, name), diagnose)
    path = Path("data/diagnosis", name, "diagnosis.json")
    return code, json.loads(path.read_text()) if code == 0 else None


def test_every_family_is_diagnosed_and_the_numbers_are_the_same_each_time(project):
    """Packed rows, tied tables, a start from BERT, frozen updates."""
    _apply(bert={"training": {"precision": "bf16-mixed"}},
           seq2seq={"architectures": {"bert2bert": {"frozen_updates": 3}}})  # fmt: skip
    for name in MODELS:
        code, found = _diagnosed(name)
        assert code == 0
        assert found["weights"] > 1000
        assert found["loss"] == pytest.approx(found["uniform_loss"], rel=0.3)
        assert found["eigenvalues"]["largest"][0] > 0
        assert sum(found["spectrum"]["weights"]) == pytest.approx(1.0)
        assert min(found["gauss_newton"]["values"]) > -1e-3 * max(found["gauss_newton"]["values"])
        assert (name == "bert") == ("by_distance" not in found)
        assert bool(found["step_jacobians"]) == (name == "gru_attention")
        assert "stability" not in found  # Adam's needs a snapshot
        for one in ("softmax regression", "linear regression"):
            assert found["convexity"][one]["counterexample"] == ""
        assert bool(found["lines"]) == (name != "bert2bert")  # it began as another model
        if name not in ("bert", "gru_attention"):
            continue
        first = Path("data/diagnosis", name, "manifest.json").read_bytes()
        shutil.rmtree(Path("data/diagnosis", name))
        assert _diagnosed(name)[0] == 0
        assert Path("data/diagnosis", name, "manifest.json").read_bytes() == first


def test_snapshots_give_the_way_and_the_optimizers_own_curvature(project):
    _apply(bert={"training": {"snapshots": [4, 8, 12]}},
           diagnosis={"models": {"early": {"section": "bert", "trained": "data/bert",
                                           "data": "data/shards", "update": 8}}})  # fmt: skip
    from pipelines.bert import pretrain

    assert run_stage(pretrain.declare, pretrain.pretrain) == 0
    early, last = _diagnosed("early")[1], _diagnosed("bert")[1]
    assert (early["update"], last["update"]) == (8, 12)
    for found in (early, last):
        stable = found["stability"]
        assert stable["factor"] == pytest.approx(38.0)
        assert stable["largest_stable"] == pytest.approx(38 / stable["preconditioned_sharpness"])
        assert max(layer["ratio"] for layer in found["layers"].values()) > 0
    assert [(one["from"], one["to"]) for one in last["lines"]] == [(0, 4), (4, 8), (8, 12)]
    assert last["lines"][0]["losses"][-1] == pytest.approx(last["lines"][1]["losses"][0])
    assert last["way"]["updates"] == [0, 4, 8]
    assert last["loss"] != early["loss"]
    Path("data/bert/snapshots/00000008.safetensors").write_bytes(b"torn")
    assert _diagnosed("early")[0] == 1


def test_weights_of_another_network_and_weights_that_are_not_finite_are_refused(project, capsys):
    _apply(seq2seq={"architectures": {"transformer": {"feed_forward_width": 48}}})
    assert _diagnosed("transformer")[0] == 1
    assert "must be those of the network in params.yaml" in capsys.readouterr().err
    _apply(seq2seq={"architectures": {"transformer": {"feed_forward_width": 32}}})
    from safetensors.torch import load_file, save_file

    path = Path("data/seq2seq/gru_attention/model.safetensors")
    weights = load_file(path)
    weights["readout.bias"][0] = float("nan")
    path.unlink()
    save_file(weights, path)
    assert _diagnosed("gru_attention")[0] == 1
    told = capsys.readouterr().err
    assert "its weights (readout.bias) must be finite" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"section": "seq2seq.architectures.gruu"}, "did you mean"),
        ({"section": "gru"}, "be bert, seq2seq.architectures.NAME or classification.tasks.NAME"),
        ({"trained": "data/seq2seq/gru"}, "must be data/bert, as bert has it"),
        ({"data": "data/raw/x"}, "must be data/shards, as bert has it"),
        ({"update": 7}, "must be last or one of the snapshots of its training ([])"),
        ({"update": 0}, "update"),
    ],
)
def test_a_model_that_is_not_what_was_trained_is_told_by_preflight(
    reproduced_copy, changed, message
):
    from pipelines.params.rules import problems_of

    params_file = read_params()
    params_file.root["diagnosis"]["models"]["bert"].update(changed)
    (problem,) = problems_of(params_file)
    assert message in problem
    assert problem.startswith("params.yaml:")


def test_snapshots_beyond_the_end_are_told(reproduced_copy):
    from pipelines.params.rules import problems_of

    params_file = read_params()
    params_file.root["seq2seq"]["common"]["snapshots"] = [99999]
    (problem,) = problems_of(params_file)
    assert "seq2seq.common.snapshots (99999) must not exceed the updates" in problem


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_rows_that_do_not_fit_are_told_with_the_key_to_lower(error):
    from pipelines.diagnosis.problem import Problem

    weight, calls = torch.ones(2, requires_grad=True), []

    def loss():
        calls.append(1)
        if len(calls) > 2:
            raise error
        return weight.square().sum()

    problem = Problem({"w": weight}, [loss], "bert")
    with pytest.raises(OutOfMemory, match=r"diagnosis\.common\.rows"):
        problem.hessian_product(torch.ones(2))
