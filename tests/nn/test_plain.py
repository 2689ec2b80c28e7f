"""The plain path: the same losses and gradients, with a second derivative."""

import pytest
import torch
from torch.nn import functional as F

from pipelines.diagnosis.problem import Problem, learnable
from pipelines.models.bert import Bert, attention_mask
from pipelines.nn.linear_cross_entropy import linear_cross_entropy
from pipelines.nn.plain import is_plain, twice_differentiable
from pipelines.nn.transformer.params import BertModelParams
from pipelines.seq2seq.data import collate
from pipelines.seq2seq.inputs import padded, sums
from pipelines.training.positions import Position
from tests.bert.sample import MODEL
from tests.models.families import BLOCKS, build


def _pairs():
    import numpy as np

    from pipelines.formats.shards.arrays import PairShard, Ragged

    rng = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        rows = [rng.integers(5, 20, size) for size in (4, 7, 2)]
        sides.append(Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)])))
    return collate(PairShard(*sides, np.array([], np.int64)), np.arange(3), Position(0, 0, 0))


def _fast(network, loss):
    value = loss()
    return value.detach(), torch.autograd.grad(value, list(network.parameters()), allow_unused=True)


def _apart(network, loss):
    """How far both paths are apart in value and gradient, and a product H v from the difference
    of gradients: relative.
    """
    value, gradients = _fast(network, loss)
    problem = Problem(learnable(network), [loss])
    exact = torch.cat([
        (torch.zeros_like(weight) if one is None else one).flatten()
        for one, weight in zip(gradients, network.parameters(), strict=True)
    ])  # fmt: skip
    gradient = problem.gradient()
    torch.manual_seed(3)
    vector = torch.randn(problem.num_weights, dtype=exact.dtype)
    vector, small, here = vector / vector.norm(), 1e-5, problem.weights()
    sides = []
    for sign in (1, -1):
        with problem.at(here + sign * small * vector):
            sides.append(problem.gradient())
    numeric = (sides[0] - sides[1]) / (2 * small)
    product = problem.hessian_product(vector)
    return (
        abs(problem.loss() - value.item()) / abs(value.item()),
        ((gradient - exact).norm() / exact.norm()).item(),
        ((product - numeric).norm() / numeric.norm()).item(),
    )


CLOSE = (1e-6, 1e-6, 1e-5)  # the fast sum is in float32


@pytest.mark.parametrize(
    "name", ["rnn", "gru_additive", "lstm_one_way", "textbook_gru_dot", "transformer",
             "transformer_post", "transformer_learned", "rnd_share"],
)  # fmt: skip
def test_every_family_is_the_same_and_bends(name):
    network, batch = build(name), _pairs()
    assert name in BLOCKS

    def loss():
        smoothed, _, _ = sums(network, padded(batch, batch.inputs_BT), 0.1)
        return smoothed / batch.num_tokens

    apart = _apart(network, loss)
    assert all(one < most for one, most in zip(apart, CLOSE, strict=True)), apart


@pytest.mark.parametrize("packed", [False, True])
def test_bert_is_the_same_and_bends(packed):
    torch.manual_seed(0)
    network = Bert(BertModelParams(**MODEL), 40).double()
    tokens, types = torch.randint(5, 40, (2, 12)), torch.zeros(2, 12, dtype=torch.int64)
    sequences = torch.ones(2, 12, dtype=torch.int64)
    sequences[:, 7:] = 2 if packed else 0
    mask, masked = attention_mask(sequences, packed=packed), torch.tensor([1, 3, 14, 17])
    labels, first = torch.tensor([6, 9, 30, 12]), torch.tensor([0, 12])

    def loss():
        hidden = network(tokens, types, mask, None)
        weight, bias = network.embeddings.token.weight, network.mlm_bias
        mlm, _, _ = linear_cross_entropy(network.mlm_hidden(hidden, masked), weight, bias, labels)
        pairs = network.nsp_logits(network.pooled(hidden, first))
        return mlm / 4 + F.cross_entropy(pairs, torch.tensor([0, 1]))

    apart = _apart(network, loss)
    assert all(one < most for one, most in zip(apart, CLOSE, strict=True)), apart


def test_blocks_are_nested_and_left_whatever_happens():
    assert not is_plain()
    with twice_differentiable() as outer:
        with twice_differentiable() as inner:
            linear_cross_entropy(
                torch.ones(2, 3), torch.ones(4, 3), torch.ones(4), torch.tensor([0, 1])
            )
        assert [one.logits.shape for one in inner] == [(2, 4)]
        assert (inner[0].features.shape, inner[0].labels.tolist()) == ((2, 3), [0, 1])
        assert not outer
        assert is_plain()
    with pytest.raises(ZeroDivisionError), twice_differentiable():
        raise ZeroDivisionError
    assert not is_plain()
