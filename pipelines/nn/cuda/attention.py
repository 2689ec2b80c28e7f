"""Variable-length attention with dropout: PyTorch's FlashAttention kernel as an operator.

`torch.nn.attention.varlen` calls the same kernel with a dropout of 0. As an operator of its own it
stands in a compiled graph as one node, whose gradient is known.

Shapes: S sequences, N tokens of all queries, M of all keys, H heads, K head width.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def serves(device: torch.device, head_widths: Iterable[int]) -> bool:
    """Whether the device has the kernel, NVIDIA's from Ampere on (compute capability 8.0), and it
    takes heads of these widths: multiples of 8 up to 192, or 256 where the chip has the memory.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    capability = torch.cuda.get_device_capability(device)
    widest = 256 if capability in ((8, 0), (9, 0), (10, 0)) else 192
    return capability >= (8, 0) and all(width % 8 == 0 and width <= widest for width in head_widths)


@torch.library.custom_op(
    "maskline::flash_attention", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor,
    key_ends: Tensor,
    longest: Sequence[int],
    causal: bool,
    rate: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Heads [N, H, K], see `pipelines.nn.transformer.varlen.attention_within`; for the gradient,
    log Σ exp [H, N] of the scores and the state of dropout.

    Args:
        query: [N, H, K] in bfloat16 or float16, as the others.
        key: [M, H, K].
        value: [M, H, K].
        query_ends: int32 [S + 1].
        key_ends: int32 [S + 1].
        longest: no sequence has more queries and keys than these two numbers.
        causal: query t sees keys 0 … t.
        rate: of dropout.
    """
    heads, log_sum, state, *_ = torch.ops.aten._flash_attention_forward(
        query, key, value, query_ends, key_ends, *longest, rate, causal, False
    )
    return heads.contiguous(), log_sum, state


@flash_attention.register_fake
def _(query: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    num_tokens, num_heads, _width = query.shape
    return (
        query.new_empty(query.shape),
        query.new_empty(num_heads, num_tokens, dtype=torch.float32),
        query.new_empty(2, dtype=torch.uint64),
    )


@torch.library.custom_op("maskline::flash_attention_backward", mutates_args=())
def _backward(
    gradient: Tensor, saved: Sequence[Tensor], longest: Sequence[int], causal: bool, rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by queries, keys and values; deterministic where PyTorch is told to be."""
    query, key, value, query_ends, key_ends, heads, log_sum, state = saved
    by_query, by_key, by_value = torch.ops.aten._flash_attention_backward(
        gradient, query, key, value, heads, log_sum, query_ends, key_ends, *longest,
        rate, causal, state, torch.empty(0, device=query.device),
    )  # fmt: skip
    return by_query.contiguous(), by_key.contiguous(), by_value.contiguous()


@_backward.register_fake
def _(_gradient: Tensor, saved: Sequence[Tensor], *_: Any) -> tuple[Tensor, ...]:
    return tuple(part.new_empty(part.shape) for part in saved[:3])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.longest, ctx.causal, ctx.rate = inputs
    ctx.save_for_backward(*tensors, *output)


def _gradients(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    others = ctx.longest, ctx.causal, ctx.rate
    found = _backward(gradient.contiguous(), list(ctx.saved_tensors), *others)
    return (*found, *(None,) * 5)


flash_attention.register_autograd(_gradients, setup_context=_save)
