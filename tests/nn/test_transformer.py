"""Transformer layers against PyTorch's own modules, in float64."""

import math

import pytest
import torch
from torch import nn

from pipelines.nn.cpu.attention import explicit_attention
from pipelines.nn.cpu.dropout import Dropout
from pipelines.nn.transformer.attention import MultiHeadAttention, padding_mask
from pipelines.nn.transformer.blocks import BlockShape, DecoderBlock, EncoderBlock
from pipelines.nn.transformer.embeddings import sinusoids
from pipelines.nn.transformer.params import TransformerShape

B, T, S, D, H, F = 3, 5, 7, 16, 4, 24


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.double)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float)


def _copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(
            torch.cat([ours.query.weight, ours.key.weight, ours.value.weight])
        )
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    theirs.load_state_dict(ours.state_dict())


def _randomize(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_pytorch(causal):
    ours, theirs = MultiHeadAttention(D, H, 0.0), nn.MultiheadAttention(D, H, batch_first=True)
    _randomize(ours)
    _copy_attention(ours, theirs)
    x = torch.randn(B, T, D, requires_grad=True)
    mask = torch.triu(torch.ones(T, T, dtype=torch.bool), 1) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=mask)
    actual = ours(x, *ours.keys_and_values(x), causal=causal)
    torch.testing.assert_close(actual, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(
        torch.autograd.grad(actual.sum(), x)[0],
        torch.autograd.grad(expected.sum(), x)[0],
        atol=1e-10,
        rtol=0,
    )


@pytest.mark.parametrize("masked", ["nothing", "causal", "padding"])
def test_explicit_product_equals_pytorchs_kernel(masked):
    """What trains on a CPU with dropout or in bf16 is what evaluates."""
    query, key, value = (
        torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)
    )
    mask = (
        torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()[:, None, None]
        if masked == "padding"
        else None
    )
    causal = masked == "causal"
    ours = explicit_attention(query, key, value, mask, causal=causal, rate=0.0)
    theirs = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal
    )
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    inputs = (query, key, value)
    for mine, its in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(theirs.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, its, atol=1e-12, rtol=0)
    low = explicit_attention(*(part.bfloat16() for part in inputs), mask, causal=causal, rate=0.0)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), theirs, atol=0.03, rtol=0)


def test_attention_for_beams_equals_memory_copied_per_hypothesis():
    attention, W = MultiHeadAttention(D, H, 0.0), 4
    memory, query = torch.randn(B, S, D), torch.randn(B * W, D)
    mask = padding_mask(torch.tensor([7, 2, 5]), S)
    key, value = attention.keys_and_values(memory)
    copied = [tensor.repeat_interleave(W, dim=0) for tensor in (key, value, mask)]
    far = torch.zeros(B, 1, 1, S).masked_fill(~mask, float("-inf"))
    actual, weight = attention.for_beams(query, key, value, far)
    expected = attention(query[:, None], *copied[:2], mask=copied[2])[:, 0]
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
    assert torch.equal(weight > 0, mask.expand(B, H, W, S))
    torch.testing.assert_close(weight.sum(-1), torch.ones(B, H, W), atol=1e-12, rtol=0)


def test_attention_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"num_heads \(3\) must divide width \(16\)"):
        MultiHeadAttention(16, 3, 0.0)


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_dropout_of_attention_is_a_rate_of_its_own(kind):
    params = TransformerShape(
        width=D,
        num_heads=H,
        feed_forward_width=F,
        dropout=0.25,
        attention_dropout=0.5,
        max_positions=8,
    )
    block = kind(BlockShape.of(params))
    attentions = [part.dropout for part in block.modules() if isinstance(part, MultiHeadAttention)]
    others = [part.rate for part in block.modules() if isinstance(part, Dropout)]
    assert set(attentions) == {0.5}
    assert set(others) == {0.25}


def test_dropout_of_attention_falls_on_its_weights_in_training_only():
    attention, x = MultiHeadAttention(D, H, 0.5), torch.randn(B, T, D)
    assert not torch.equal(attention.to_itself(x), attention.to_itself(x))
    attention.eval()
    assert torch.equal(attention.to_itself(x), attention.to_itself(x))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_encoder_block_equals_pytorch(norm, activation):
    ours = EncoderBlock(BlockShape(D, H, F, 0.0, 0.0, norm, activation))
    theirs = nn.TransformerEncoderLayer(
        D, H, F, 0.0, activation, layer_norm_eps=1e-12, batch_first=True, norm_first=norm == "pre"
    )
    _randomize(ours)
    _copy_attention(ours.attention, theirs.self_attn)
    for mine, its in (
        (ours.feed_forward.inner, theirs.linear1),
        (ours.feed_forward.outer, theirs.linear2),
        (ours.attention_norm, theirs.norm1),
        (ours.feed_forward_norm, theirs.norm2),
    ):
        _copy(mine, its)
    x, lengths = torch.randn(B, T, D), torch.tensor([5, 3, 4])
    real = padding_mask(lengths, T)[:, 0, 0]
    expected = theirs(x, src_key_padding_mask=~real)
    torch.testing.assert_close(
        ours(x, padding_mask(lengths, T))[real], expected[real], atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_decoder_block_equals_pytorch_and_its_own_steps(norm):
    ours = DecoderBlock(BlockShape(D, H, F, 0.0, 0.0, norm, "gelu"))
    theirs = nn.TransformerDecoderLayer(
        D, H, F, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True, norm_first=norm == "pre"
    )
    _randomize(ours)
    _copy_attention(ours.attention, theirs.self_attn)
    _copy_attention(ours.cross_attention, theirs.multihead_attn)
    for mine, its in (
        (ours.feed_forward.inner, theirs.linear1),
        (ours.feed_forward.outer, theirs.linear2),
        (ours.attention_norm, theirs.norm1),
        (ours.cross_attention_norm, theirs.norm2),
        (ours.feed_forward_norm, theirs.norm3),
    ):
        _copy(mine, its)
    x = torch.randn(B, T, D)
    memory = torch.randn(B, S, D)
    mask = padding_mask(torch.tensor([7, 2, 5]), S)
    causal = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    expected = theirs(x, memory, tgt_mask=causal, memory_key_padding_mask=~mask[:, 0, 0])
    torch.testing.assert_close(ours(x, memory, mask), expected, atol=1e-10, rtol=0)

    table = tuple(torch.empty(B, H, T, D // H) for _ in range(2))
    source = ours.cross_attention.keys_and_values(memory)
    far, steps = torch.zeros(B, 1, 1, S).masked_fill(~mask, float("-inf")), []
    for t in range(T):
        places = (torch.arange(B * H) * T + t).long()
        y, _ = ours.step(x[:, t], table, places, torch.zeros(B, 1, 1, t + 1), source, far)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, dim=1), expected, atol=1e-10, rtol=0)


def test_sinusoids_are_the_formula_of_the_paper():
    table = sinusoids(50, 8)
    for position in (0, 1, 17, 49):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            assert math.isclose(table[position, 2 * i], math.sin(angle), abs_tol=1e-6)
            assert math.isclose(table[position, 2 * i + 1], math.cos(angle), abs_tol=1e-6)
