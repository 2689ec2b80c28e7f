"""Gradients of tables of embeddings, of kernels that are fast and give the same bits each time.

PyTorch's compiler turns the gradient of a look-up into additions at places, and in deterministic
mode one thread adds up all rows of a frequent token: for a table of two segments that is half of
the batch. PyTorch's own gradient of an embedding sorts and adds in parts.

Shapes: N tokens, V rows of the table, D width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def look_up(places: Tensor, table_VD: Tensor) -> Tensor:
    """``F.embedding(places, table_VD)``; in a compiled graph its gradient is PyTorch's own
    kernel.
    """
    if not torch.compiler.is_compiling():
        return F.embedding(places, table_VD)
    found: Tensor = _look_up(places, table_VD)
    return found


def rows_at(x_ND: Tensor, places: Tensor) -> Tensor:
    """``x_ND[places]``; on a GPU with the gradient of an embedding, as `look_up`."""
    if x_ND.device.type != "cuda" and not torch.compiler.is_compiling():
        return x_ND[places]
    return look_up(places, x_ND)


@torch.library.custom_op("maskline::look_up", mutates_args=())
def _look_up(places: Tensor, table: Tensor) -> Tensor:
    """The rows [..., D]."""
    return F.embedding(places, table)


@_look_up.register_fake
def _(places: Tensor, table: Tensor) -> Tensor:
    return table.new_empty(*places.shape, table.shape[1])


@torch.library.custom_op("maskline::look_up_backward", mutates_args=())
def _gradient(gradient: Tensor, places: Tensor, num_rows: int) -> Tensor:
    """The gradient by the table [V, D]."""
    return torch.ops.aten.embedding_dense_backward(gradient, places, num_rows, -1, False)


@_gradient.register_fake
def _(gradient: Tensor, places: Tensor, num_rows: int) -> Tensor:
    return gradient.new_empty(num_rows, gradient.shape[-1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    places, table = inputs
    ctx.save_for_backward(places)
    ctx.num_rows = len(table)


def _backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
    (places,) = ctx.saved_tensors
    return None, _gradient(gradient.contiguous(), places, ctx.num_rows)


_look_up.register_autograd(_backward, setup_context=_save)
