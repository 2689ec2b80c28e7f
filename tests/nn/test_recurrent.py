"""Cells and stacks against torch.nn.RNN, LSTM and GRU; attention against its equations written
out.
"""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipelines.nn.recurrent.attention import AdditiveAttention, MultiplicativeAttention
from pipelines.nn.recurrent.cells import GruCell, LstmCell, RnnCell, TextbookGruCell
from pipelines.nn.recurrent.stack import Recurrent

B, T, X, D = 4, 7, 5, 6
LENGTHS = torch.tensor([3, 7, 1, 5])
PEERS = {RnnCell: nn.RNN, LstmCell: nn.LSTM, GruCell: nn.GRU}


def _pair(cell, layers, bidirectional, by_cells):
    torch.manual_seed(0)
    kind = type("ByCells", (cell,), {"fused": None}) if by_cells else cell
    ours = Recurrent(
        kind, X, D, num_layers=layers, bidirectional=bidirectional, dropout=0.0
    ).double()
    theirs = PEERS[cell](X, D, layers, batch_first=True, bidirectional=bidirectional).double()
    flat = iter(theirs.parameters())
    for layer in ours.layers:
        for one in layer:
            for weight in one.weights():
                next(flat).data.copy_(weight.data)
    return ours, theirs


@pytest.mark.parametrize("by_cells", [False, True], ids=["fused", "by_cells"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one_way", "two_ways"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("cell", PEERS)
def test_stack_equals_pytorch_forward_and_backward(cell, packed, layers, bidirectional, by_cells):
    ours, theirs = _pair(cell, layers, bidirectional, by_cells)
    K = 2 if bidirectional else 1
    x = torch.randn(B, T, X, dtype=torch.double, requires_grad=True)
    start = [
        torch.randn(B, layers, K * D, dtype=torch.double, requires_grad=True)
        for _ in range(ours.num_states)
    ]
    y, last = ours(x, LENGTHS if packed else None, tuple(start))
    theirs_start = [part.view(B, layers * K, D).transpose(0, 1).contiguous() for part in start]
    given = (
        pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False) if packed else x
    )
    expected, expected_last = theirs(
        given, tuple(theirs_start) if len(start) > 1 else theirs_start[0]
    )
    expected = pad_packed_sequence(expected, batch_first=True)[0] if packed else expected
    torch.testing.assert_close(y, expected, atol=1e-10, rtol=0)
    for mine, its in zip(last, expected_last if len(start) > 1 else [expected_last], strict=True):
        torch.testing.assert_close(
            mine, its.transpose(0, 1).reshape(B, layers, K * D), atol=1e-10, rtol=0
        )
    weight = torch.randn_like(y)
    mine = torch.autograd.grad((y * weight).sum() + last[-1].sum(), [x, *start, *ours.parameters()])
    total = (expected * weight).sum() + (
        expected_last[-1] if len(start) > 1 else expected_last
    ).sum()
    its = torch.autograd.grad(total, [x, *start, *theirs.parameters()])
    by_name = dict(
        zip([name for name, _ in theirs.named_parameters()], its[1 + len(start) :], strict=True)
    )
    ordered = [
        by_name[f"{kind}_{gate}_l{layer}{'_reverse' if way else ''}"]
        for layer in range(layers)
        for way in range(K)
        for gate in ("ih", "hh")
        for kind in ("weight", "bias")
    ]
    for ours_grad, theirs_grad in zip(mine, [*its[: 1 + len(start)], *ordered], strict=True):
        torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize("cell", [*PEERS, TextbookGruCell])
def test_cell_gradients_equal_finite_differences(cell):
    torch.manual_seed(0)
    one = cell(3, 2).double()
    x = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    state = [
        torch.randn(2, 2, dtype=torch.double, requires_grad=True) for _ in range(cell.num_states)
    ]
    assert torch.autograd.gradcheck(lambda x, *state: one(one.input(x), state), (x, *state))


def test_textbook_gru_equals_its_equations():
    """Zhang et al., Dive into Deep Learning, section 10.2: R and Z, then H̃ from R ⊙ H, then the
    mixture.
    """
    torch.manual_seed(0)
    cell, x, h = TextbookGruCell(3, 4), torch.randn(2, 3), torch.randn(2, 4)
    W, U, b, c = cell.input.weight.T, cell.hidden.weight.T, cell.input.bias, cell.hidden.bias
    r, z, n = (slice(4 * gate, 4 * gate + 4) for gate in range(3))
    R = torch.sigmoid(x @ W[:, r] + b[r] + h @ U[:, r] + c[r])
    Z = torch.sigmoid(x @ W[:, z] + b[z] + h @ U[:, z] + c[z])
    candidate = torch.tanh(x @ W[:, n] + b[n] + (R * h) @ U[:, n] + c[n])
    torch.testing.assert_close(cell(cell.input(x), (h,))[0], Z * h + (1 - Z) * candidate)
    assert not torch.allclose(
        cell(cell.input(x), (h,))[0], GruCell.forward(cell, cell.input(x), (h,))[0]
    )


@pytest.mark.parametrize("cell", [*PEERS, TextbookGruCell])
def test_steps_equal_whole_sequences(cell):
    torch.manual_seed(0)
    stack = Recurrent(cell, X, D, num_layers=2, bidirectional=False, dropout=0.0).double()
    x = torch.randn(B, T, X, dtype=torch.double)
    expected, last = stack(x)
    state = tuple(torch.zeros(B, 2, D, dtype=torch.double) for _ in range(cell.num_states))
    for t in range(T):
        y, state = stack.step(stack.layers[0][0].input(x[:, t]), state)
        torch.testing.assert_close(y, expected[:, t], atol=1e-12, rtol=0)
    for mine, its in zip(state, last, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-12, rtol=0)


def _score(attention, state, memory):
    if isinstance(attention, AdditiveAttention):
        return attention.energy(
            torch.tanh(attention.query(state) + attention.key(memory))
        ).squeeze()
    return state @ attention.key(memory)


@pytest.mark.parametrize(
    "attention",
    [
        AdditiveAttention(6, 6),
        MultiplicativeAttention(6, 6, general=True),
        MultiplicativeAttention(6, 6, general=False),
    ],
    ids=["additive", "general", "dot"],
)
def test_attention_equals_its_equations(attention):
    torch.manual_seed(0)
    W, S = 3, 4
    memory, state = torch.randn(2, S, D), torch.randn(2 * W, D)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    context, _ = attention(state, attention.keys(memory), memory, mask)
    for n in range(2 * W):
        b = n // W
        scores = torch.stack(
            [_score(attention, state[n], memory[b, s]) for s in range(int(mask[b].sum()))]
        )
        expected = sum(weight * memory[b, s] for s, weight in enumerate(scores.softmax(0)))
        torch.testing.assert_close(context[n], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("general", [False, True])
def test_attention_gradients_equal_finite_differences(general):
    torch.manual_seed(0)
    kinds = [MultiplicativeAttention(3, 3, general=general), AdditiveAttention(3, 3)]
    mask = torch.tensor([[True, True, False], [True, True, True]])
    state, memory = (
        torch.randn(*shape, dtype=torch.double, requires_grad=True) for shape in ((4, 3), (2, 3, 3))
    )
    for kind in kinds:
        attention = kind.double()
        assert torch.autograd.gradcheck(
            lambda s, m, a=attention: a(s, a.keys(m), m, mask), (state, memory)
        )


def test_dot_attention_widths_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"memory width \(4\) must equal the decoder's \(6\)"):
        MultiplicativeAttention(6, 4, general=False)


@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 2])])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_the_kernel_is_told_that_it_trains_where_there_are_gradients(
    monkeypatch, lengths, training, gradients
):
    """ "cudnn RNN backward can only be called in training mode": what no CPU minds, every GPU
    refuses.
    """
    for cell in (RnnCell, LstmCell, GruCell):
        told = []
        kernel = cell.fused

        def watched(*arguments, kernel=kernel, told=told):
            told.append(arguments[6 if lengths is None else 7])
            return kernel(*arguments)

        monkeypatch.setattr(cell, "fused", staticmethod(watched))
        stack = Recurrent(cell, 3, 5, num_layers=2, bidirectional=True, dropout=0.0).train(training)
        with torch.set_grad_enabled(gradients):
            stack(torch.randn(2, 4, 3), lengths)
        assert told == [gradients] * 2
