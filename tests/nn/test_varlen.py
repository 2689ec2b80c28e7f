"""Attention within sequences of one row: the reference against each sequence alone, the operator
for GPUs against the reference, with a kernel of the same contract in the place of the GPU's.
"""

import pytest
import torch
from torch.nn import functional as F

from pipelines.nn.cuda.attention import flash_attention, serves
from pipelines.nn.cuda.tables import look_up, rows_at
from pipelines.nn.rows import Bounds, Within
from pipelines.nn.transformer import norm
from pipelines.nn.transformer.norm import LayerNorm
from pipelines.nn.transformer.varlen import attention_within

H, K = 2, 8


def _ends(sizes):
    return torch.tensor([0, *sizes]).cumsum(0).int()


def _random(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(sum(sizes), H, K, generator=generator, dtype=torch.double)
    return made.requires_grad_()


def _assert_same(found, expected, tensors):
    """Values and gradients."""
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(one, tensors, gradient) for one in (found, expected))
    torch.testing.assert_close(ours, theirs)


def _alone(query, key, value, sizes, key_sizes, *, causal):
    """Each sequence by PyTorch's own attention."""
    parts = zip(query.split(sizes), key.split(key_sizes), value.split(key_sizes), strict=True)
    return torch.cat(
        [
            F.scaled_dot_product_attention(
                *(part.transpose(0, 1)[None] for part in each), is_causal=causal
            )[0].transpose(0, 1)
            for each in parts
            if len(each[0])
        ]
    )


@pytest.mark.parametrize(
    ("sizes", "key_sizes", "causal"),
    [
        ([5, 1, 7], [5, 1, 7], False),
        ([5, 1, 7], [5, 1, 7], True),
        ([3, 4], [6, 2], False),
        ([9], [9], True),
        ([2, 0, 3, 0], [2, 0, 3, 0], False),
    ],
)
def test_attention_within_sequences_is_that_of_each_alone(sizes, key_sizes, causal):
    tensors = [_random(sizes, 1), _random(key_sizes, 2), _random(key_sizes, 3)]
    longest = max(*sizes, *key_sizes) + 2
    within = Within(Bounds(_ends(sizes), longest), Bounds(_ends(key_sizes), longest))
    found = attention_within(*tensors, within, causal=causal, rate=0.0)
    expected = _alone(*tensors, sizes, key_sizes, causal=causal)
    _assert_same(found, expected, tensors)


def test_dropped_weights_are_scaled_up():
    """The mean of many passes is the pass without dropout."""
    sizes = [4, 6]
    within = Within(*[Bounds(_ends(sizes), 6)] * 2)
    tensors = [_random(sizes, seed).detach() for seed in range(3)]
    torch.manual_seed(0)
    passes = [attention_within(*tensors, within, causal=False, rate=0.2) for _ in range(4000)]
    assert not torch.equal(passes[0], passes[1])
    exact = attention_within(*tensors, within, causal=False, rate=0.0)
    torch.testing.assert_close(torch.stack(passes).mean(0), exact, atol=0.05, rtol=0)


class _Kernel:
    """What FlashAttention computes, sequence after sequence [N, H, K], and what it remembers."""

    def __init__(self, tensors, ends, *, causal, rate, seed):
        sizes = [each.diff().tolist() for each in (ends[0], ends[1], ends[1])]
        split = [part.split(size) for part, size in zip(tensors, sizes, strict=True)]
        self.parts = [[part.transpose(0, 1) for part in each] for each in zip(*split, strict=True)]
        self.causal, self.rate, self.seed = causal, rate, seed

    def _scores(self, number):
        query, key, _ = self.parts[number]
        scores = query @ key.transpose(1, 2) * K**-0.5
        ahead = ~torch.ones_like(scores).bool().tril()
        return scores.masked_fill(ahead, float("-inf")) if self.causal else scores

    def _kept(self, number, weights):
        generator = torch.Generator().manual_seed(self.seed + number)
        return (torch.rand(weights.shape, generator=generator) >= self.rate) / (1 - self.rate)

    def forward(self):
        heads, sums = [], []
        for number, (_, _, value) in enumerate(self.parts):
            scores = self._scores(number)
            weights = scores.softmax(dim=-1)
            heads.append(((weights * self._kept(number, weights)) @ value).transpose(0, 1))
            sums.append(scores.logsumexp(dim=-1))
        return torch.cat(heads), torch.cat(sums, dim=1).float()

    def backward(self, gradient):
        found = []
        for number, (query, key, value) in enumerate(self.parts):
            part, gradient = gradient[: query.shape[1]].transpose(0, 1), gradient[query.shape[1] :]
            weights = self._scores(number).softmax(dim=-1)
            kept = self._kept(number, weights)
            by_weights = part @ value.transpose(1, 2) * kept
            by_scores = weights * (by_weights - (by_weights * weights).sum(dim=-1, keepdim=True))
            by_query, by_key = by_scores @ key, by_scores.transpose(1, 2) @ query
            scaled = by_query * K**-0.5, by_key * K**-0.5
            found.append((*scaled, (weights * kept).transpose(1, 2) @ part))
        return tuple(torch.cat(part, dim=1).transpose(0, 1) for part in zip(*found, strict=True))


@pytest.fixture
def kernel():
    """PyTorch's FlashAttention operators, which it has for GPUs alone, on the CPU."""

    def forward(query, key, value, query_ends, key_ends, *others, **_):
        *_, rate, causal, _debug = others
        seed = int(torch.randint(1 << 30, ()))
        tensors, ends = (query, key, value), (query_ends, key_ends)
        heads, log_sum = _Kernel(tensors, ends, causal=causal, rate=rate, seed=seed).forward()
        state = torch.tensor([seed, 0]).to(torch.uint64)
        return heads, log_sum, state, torch.empty(0), torch.empty(0)

    def backward(gradient, query, key, value, *others, **_):
        _heads, _log_sum, query_ends, key_ends, _, _, rate, causal, state, _unused = others
        tensors, ends = (query, key, value), (query_ends, key_ends)
        seed = int(state[0])
        return _Kernel(tensors, ends, causal=causal, rate=rate, seed=seed).backward(gradient)

    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("_flash_attention_forward", forward, "CPU")
        library.impl("_flash_attention_backward", backward, "CPU")
        yield


@pytest.mark.parametrize(
    ("kind", "capability", "widths", "expected"),
    [
        ("cuda", (9, 0), {64}, True),
        ("cuda", (8, 0), {8, 256}, True),
        ("cuda", (8, 6), {256}, False),
        ("cuda", (8, 9), {192}, True),
        ("cuda", (9, 0), {64, 20}, False),
        ("cuda", (7, 5), {64}, False),
        ("cpu", (9, 0), {64}, False),
    ],
)
def test_what_has_the_kernel(monkeypatch, kind, capability, widths, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert serves(torch.device(kind), widths) is expected
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert not serves(torch.device(kind), widths)


@pytest.mark.parametrize("causal", [False, True])
def test_the_operator_has_the_gradients_of_the_reference(kernel, causal):
    sizes = [5, 1, 7]
    tensors = [_random(sizes, seed) for seed in range(3)]
    within = Within(*[Bounds(_ends(sizes), 7)] * 2)
    expected = attention_within(*tensors, within, causal=causal, rate=0.0)
    found, log_sum, _ = flash_attention(*tensors, _ends(sizes), _ends(sizes), [7, 7], causal, 0.0)
    _assert_same(found, expected, tensors)
    assert log_sum.shape == (H, sum(sizes))


def test_the_operator_drops_in_the_backward_pass_what_it_dropped_in_the_forward_pass(kernel):
    """By finite differences, with the state of dropout held."""
    sizes = [3, 4]
    tensors = [_random(sizes, seed) for seed in range(3)]

    def heads(*given):
        torch.manual_seed(3)
        return flash_attention(*given, _ends(sizes), _ends(sizes), [4, 4], False, 0.3)[0]

    assert torch.autograd.gradcheck(heads, tensors)


def test_the_operator_stands_in_a_compiled_graph(kernel):
    sizes = [3, 4]
    ends = _ends(sizes)
    tensors = [_random(sizes, seed) for seed in range(3)]
    wide = torch.randn(7, 3 * H * K, dtype=torch.double, requires_grad=True)
    parts = [part.view(7, H, K) for part in wide.chunk(3, dim=1)]
    for given, causal in ((tensors, True), (parts, False)):
        arguments = (*given, ends, ends, [4, 4], causal, 0.0)
        checked = torch.library.opcheck(flash_attention, arguments)
        assert set(checked.values()) == {"SUCCESS"}


def test_a_table_of_a_compiled_graph_has_the_gradient_of_an_embedding():
    table = torch.randn(5, 3, requires_grad=True)
    places = torch.tensor([[0, 4, 4], [2, 0, 4]])

    def squares(table):
        return look_up(places, table).square().sum() + rows_at(table, places[0]).sum()

    (expected,) = torch.autograd.grad(squares(table), table)
    compiled = torch.compile(squares, backend="aot_eager")
    (found,) = torch.autograd.grad(compiled(table), table)
    torch.testing.assert_close(found, expected)
    checked = torch.library.opcheck(torch.ops.maskline.look_up.default, (places, table))
    assert set(checked.values()) == {"SUCCESS"}


def test_norms_answer_in_the_type_of_autocast_on_devices_that_gain_by_it(monkeypatch):
    layer, x = LayerNorm(64), torch.randn(9, 64)
    exact = F.layer_norm(x, (64,), eps=1e-12)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.float32  # a CPU's results stay as they are
        monkeypatch.setattr(norm, "_HALVED", ("cpu",))
        halved = layer(x)
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved, exact.bfloat16())
    assert layer(x).dtype == torch.float32  # evaluation in float32
