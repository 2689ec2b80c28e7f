"""Gradient norms at the source against torch.autograd.grad, and the plain RNN's that vanishes."""

import pytest
import torch

from pipelines.seq2seq.gradients import report_source_gradients
from tests.models.families import build

SOURCE = torch.randint(5, 20, (3, 9), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([9, 3, 5])
INPUTS = torch.randint(5, 20, (3, 6), generator=torch.Generator().manual_seed(2))


def _reported(model):
    found = {}
    handle = report_source_gradients(model.source_embeddings, LENGTHS, found.update)
    embedded = []
    model.source_embeddings.register_forward_hook(lambda _, __, output: embedded.append(output))
    loss = model.hidden(SOURCE, LENGTHS, INPUTS).square().sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(loss, embedded[0], retain_graph=True)
    found.clear()
    loss.backward()
    return found, gradient


@pytest.mark.parametrize("name", ["lstm_general", "transformer", "transformer_post", "rnd2rnd"])
def test_source_gradients_are_autograds_by_distance_from_the_end(name):
    found, gradient = _reported(build(name))
    assert [key.rsplit("/")[1] for key in found] == ["00", "01", "02", "04", "08", "16", "32"]
    for key, (total, count) in found.items():
        distance = int(key.rsplit("/")[1])
        rows = [row for row in range(3) if LENGTHS[row] > distance]
        expected = sum(float(gradient[row, LENGTHS[row] - 1 - distance].norm()) for row in rows)
        assert count == len(rows)
        assert float(total) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_source_gradients_of_a_plain_rnn_vanish_and_those_with_attention_do_not():
    shares = {}
    for name, changes in (
        ("rnn", {"bidirectional": False}),
        ("rnn_additive", {"bidirectional": False}),
    ):
        model = build(name, **changes)
        for cell in (layer[0] for layer in model.encoder.layers):
            torch.nn.init.normal_(cell.hidden.weight, std=0.5 * 16**-0.5)  # spectral radius 1/2
        found, _ = _reported(model)
        near, far = (
            found[key][0] / found[key][1] for key in ("source_gradient/00", "source_gradient/08")
        )
        shares[name] = float(far / near)
    assert shares["rnn"] < 0.01
    assert shares["rnn_additive"] > 10 * shares["rnn"]
