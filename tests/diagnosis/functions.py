"""Functions of a few numbers as problems."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipelines.diagnosis.problem import Problem


def of_function(
    function: Callable[..., Tensor], *start: float, dtype: torch.dtype = torch.float64
) -> Problem:
    """A function of a few numbers as a problem, each number a weight of its own."""
    weights = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in start]
    named = {f"x{number}": weight for number, weight in enumerate(weights)}
    return Problem(named, [lambda: function(*weights)], "the function")
