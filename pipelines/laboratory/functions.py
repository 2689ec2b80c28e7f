"""Functions of two numbers whose minima and saddles are known, and the ways optimizers take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.optim.optimizers import build_optimizer
from pipelines.optim.params import Optimizer


@dataclass(frozen=True)
class Function:
    """A function of x and y.

    Attributes:
        of: (x, y) → value.
        start: where trajectories begin.
        sides: of the picture: left, right, bottom, top.
        minimum: where it is smallest; None where it has no least value.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    start: tuple[float, float]
    sides: tuple[float, float, float, float]
    minimum: tuple[float, float] | None


FUNCTIONS: Mapping[str, Function] = {
    # λ = 1 and 25: gradient descent swings in y, and creeps along x.
    "quadratic": Function(
        lambda x, y: 0.5 * (x.square() + 25 * y.square()),
        (-4.0, 1.0), (-5, 5, -2, 2), (0.0, 0.0),
    ),
    # Rosenbrock 1960: a bent valley.
    "rosenbrock": Function(
        lambda x, y: (1 - x).square() + 100 * (y - x.square()).square(),
        (-1.2, 1.0), (-2, 2, -1, 3), (1.0, 1.0),
    ),
    # A saddle at 0: the start lies all but on the ridge.
    "saddle": Function(
        lambda x, y: x.square() - y.square(), (1.0, 1e-3), (-1.5, 1.5, -1.5, 1.5), None
    ),
    # Three valleys meet where the Hessian is 0: a degenerate saddle.
    "monkey saddle": Function(
        lambda x, y: x**3 - 3 * x * y.square(), (1.0, 0.1), (-1.5, 1.5, -1.5, 1.5), None
    ),
}  # fmt: skip


class _Place(nn.Module):
    """Two numbers that learn; of two dimensions, so that no rule takes them for biases."""

    def __init__(self, start: Sequence[float]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(start, dtype=torch.float64)[None])


def trajectory(
    function: Function, optimizer: Optimizer, learning_rate: float, steps: int
) -> list[tuple[float, float]]:
    """The places an optimizer of this project goes through, the start first; it ends early where
    they are no longer finite or further than 1e6 away.
    """
    here = _Place(function.start)
    steps_of = build_optimizer(here, optimizer, learning_rate)
    places = [function.start]
    for _ in range(steps):
        steps_of.zero_grad()
        function.of(here.place[0, 0], here.place[0, 1]).backward()  # type: ignore[no-untyped-call]
        steps_of.step()
        x, y = here.place[0].tolist()
        if not max(abs(x), abs(y)) < 1e6:
            break
        places.append((x, y))
    return places
