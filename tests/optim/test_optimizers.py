"""Optimizers by hand, against PyTorch's own, and through a checkpoint."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from pipelines.classification.model import BertClassifier
from pipelines.models.bert import Bert
from pipelines.optim.optimizers import build_optimizer
from pipelines.optim.params import Muon, Optimizer
from tests.bert.sample import bert_params

ADAM = {"beta1": 0.9, "beta2": 0.98, "epsilon": 1e-6}
OPTIMIZERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "rmsprop": {"beta": 0.95, "epsilon": 1e-6},
    "adagrad": {"epsilon": 1e-8},
    "adafactor": {},
    "adam": ADAM,
    "adamw": {**ADAM, "bias_correction": True},
    "lamb": {**ADAM, "bias_correction": True},
    "muon": {**ADAM, "momentum": 0.95},
}


def _params(name: str, **changes: object) -> Optimizer:
    keys = {"name": name, "weight_decay": 0.1, **OPTIMIZERS[name], **changes}
    return TypeAdapter(Optimizer).validate_python(keys)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))


def _loss(network: nn.Module, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 7, (16,), generator=generator)
    return nn.functional.cross_entropy(network(tokens), tokens % 2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_learns_and_decays_matrices_only(name):
    network = _network()
    optimizer = build_optimizer(network, _params(name), 0.02)
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert {key: decay[id(parameter)] for key, parameter in network.named_parameters()} == {
        key: 0.1 if parameter.dim() > 1 else 0.0 for key, parameter in network.named_parameters()
    }
    first = _loss(network, 0).item()
    for step in range(150):
        optimizer.zero_grad()
        _loss(network, step).backward()
        optimizer.step()
    assert _loss(network, 0).item() < 0.9 * first


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_goes_on_from_its_state_to_the_bit(name, tmp_path):
    straight = _network()
    optimizer = build_optimizer(straight, _params(name), 0.05)
    schedule = LambdaLR(optimizer, lambda update: 1 / (update + 1))
    for step in range(6):
        if step == 3:
            torch.save(
                [straight.state_dict(), optimizer.state_dict(), schedule.state_dict()],
                tmp_path / "state",
            )
        optimizer.zero_grad()
        _loss(straight, step).backward()
        optimizer.step()
        schedule.step()
    resumed = _network()
    again = build_optimizer(resumed, _params(name), 0.05)
    schedule = LambdaLR(again, lambda update: 1 / (update + 1))
    for part, state in zip(
        (resumed, again, schedule), torch.load(tmp_path / "state", weights_only=True), strict=True
    ):
        part.load_state_dict(state)
    for step in range(3, 6):
        again.zero_grad()
        _loss(resumed, step).backward()
        again.step()
        schedule.step()
    assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for key, parameter in resumed.named_parameters():
        assert torch.equal(parameter, straight.get_parameter(key)), key


def _one_step(
    params: Optimizer, weight: list[float], gradient: list[float], steps: int = 1
) -> torch.Tensor:
    module = nn.Linear(len(weight), 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([weight]))
    optimizer = build_optimizer(module, params, 0.1)
    for _ in range(steps):
        module.weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return module.weight.detach()[0]


def test_adamw_without_bias_correction_is_googles_by_hand():
    """AdamWeightDecayOptimizer: m = .1 g, v = .02 g², w − lr (m / (√v + ε) + λ w)."""
    params = _params("adamw", bias_correction=False)
    found = _one_step(params, [1.0, -2.0], [0.5, 0.25])
    expected = [
        w - 0.1 * (0.1 * g / ((0.02 * g * g) ** 0.5 + 1e-6) + 0.1 * w)
        for w, g in ((1.0, 0.5), (-2.0, 0.25))
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_lamb_by_hand():
    """Direction r = m̂ / (√v̂ + ε) + λ w with m̂ = g, v̂ = g² in the first step; w − lr · ‖w‖/‖r‖ ·
    r.
    """
    found = _one_step(_params("lamb"), [3.0, 4.0], [0.5, -0.25])
    direction = torch.tensor(
        [0.5 / (0.5 + 1e-6) + 0.3, -0.25 / (0.25 + 1e-6) + 0.4], dtype=torch.float64
    )
    expected = (
        torch.tensor([3.0, 4.0], dtype=torch.float64) - 0.1 * 5.0 / direction.norm() * direction
    )
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_lamb_without_ratio_equals_pytorchs_adamw():
    from pipelines.optim.lamb import Lamb

    torch.manual_seed(0)
    ours, theirs = (
        nn.Parameter(tensor) for tensor in torch.randn(5, 3, dtype=torch.float64).repeat(2, 1, 1)
    )
    mine = Lamb(
        [{"params": [ours], "weight_decay": 0.1}],
        0.01,
        betas=(0.9, 0.98),
        epsilon=1e-8,
        bias_correction=True,
        trust_ratio=False,
    )
    torchs = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1)
    for step in range(20):
        gradient = torch.randn(
            5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step)
        )
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        torchs.step()
    # the order of decay and step differs by lr² λ per update
    torch.testing.assert_close(ours, theirs, atol=20 * 0.01**2 * 0.1 * 2, rtol=0)


def test_muon_takes_hidden_matrices_only():
    network = _network()
    network.heads = (str(len(network) - 1),)
    optimizer = build_optimizer(network, _params("muon"), 0.05)
    by_muon = {id(p) for p in optimizer.param_groups[0]["params"]}
    assert by_muon == {id(network[1].weight)}  # neither the embedding nor the two-way output


def test_muon_takes_matrices_of_blocks_and_never_a_head():
    """Two classes or ten: which layer scores them is said by name, not by its size."""
    muon = {
        "name": "muon",
        "momentum": 0.9,
        "beta1": 0.9,
        "beta2": 0.98,
        "epsilon": 1e-8,
        "weight_decay": 0.1,
    }
    params = bert_params().model
    for network in (
        Bert(params, 50),
        *(BertClassifier(params, 50, labels) for labels in (2, 3, 40)),
    ):
        optimizer = build_optimizer(network, Muon(**muon), 0.1)
        taken = {id(p) for group in optimizer.parts[0].param_groups for p in group["params"]}
        names = {name for name, parameter in network.named_parameters() if id(parameter) in taken}
        assert names
        assert not any(
            name.startswith((*network.heads, "embeddings", "mlm_bias")) for name in names
        )
        matrices = {
            name
            for name, p in network.named_parameters()
            if p.dim() == 2 and name.startswith("blocks.")
        }
        assert matrices <= names
