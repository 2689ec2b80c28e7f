"""A training loss as a function of its weights: without chance, in float32, with a second
derivative.

All vectors of this package are flat: the weights of a problem one after the other, P in number.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipelines.frame.errors import CheckFailed, OutOfMemory, broken_rule
from pipelines.nn.plain import Scores, twice_differentiable

Part = Callable[[], Tensor]  # a part of the loss; parts add up to the whole
_ROWS = "diagnosis.common.rows"
Pieces = Sequence[Tensor | None]  # in the shapes of the weights; None is zero


class _Graph(NamedTuple):
    """A part's loss, its gradients with their graph, its logits."""

    loss: Tensor
    gradients: list[Tensor]
    logits: list[Tensor]


class Problem:
    """A loss that is the sum of parts, and the weights it depends on.

    Tied weights are one tensor here, as in ``named_parameters``.

    Args:
        parameters: name → weight; all are leaves that want gradients.
        parts: one forward pass each. They must give the same number each time.
        what: name for errors.
        rows: that a pass goes through, for errors.

    Raises:
        CheckFailed: there is no weight, a weight or the loss is not finite, or the loss depends on
            chance or on no weight.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        parts: Sequence[Part],
        what: str = "the loss",
        *,
        rows: int = 1,
    ) -> None:
        self.parameters, self.parts, self.what, self.rows = dict(parameters), parts, what, rows
        self._tensors = list(self.parameters.values())
        self._kept: _Graph | None = None
        if not self._tensors:
            raise CheckFailed(f"{what}: must have weights that learn; there are none")
        for name, weight in self.parameters.items():
            if not torch.isfinite(weight).all():
                rule = "must be finite; train again with a lower learning rate"
                raise CheckFailed(f"{what}: its weights ({name}) {rule}")
        first, second = self.loss(), self.loss()
        if not math.isfinite(first):
            raise CheckFailed(f"{what} ({first}) must be finite; lower the learning rate")
        if first != second:
            raise CheckFailed(
                f"{what} ({first} and {second}) must be the same in each pass; switch dropout off"
            )

    @property
    def num_weights(self) -> int:
        """P."""
        return sum(weight.numel() for weight in self._tensors)

    def weights(self) -> Tensor:
        """A copy of the weights [P]."""
        return flat(self._tensors).clone()

    @contextmanager
    def at(self, weights: Tensor) -> Iterator[None]:
        """The problem elsewhere: at ``weights`` [P], within a block."""
        before = self.weights()
        self._write(weights)
        try:
            yield
        finally:
            self._write(before)

    @torch.no_grad()
    def _write(self, weights: Tensor) -> None:
        self._kept = None
        for own, new in zip(self._tensors, self.unflat(weights), strict=True):
            own.copy_(new)

    def unflat(self, vector: Tensor) -> list[Tensor]:
        """A vector [P] in the shapes of the weights."""
        pieces = torch.split(vector, [weight.numel() for weight in self._tensors])
        return [piece.view_as(weight) for piece, weight in zip(pieces, self._tensors, strict=True)]

    @torch.no_grad()
    def loss(self) -> float:
        """The loss where the weights are."""
        with twice_differentiable():
            return sum(float(part()) for part in self.parts)

    @torch.no_grad()
    def scores(self) -> list[Scores]:
        """What the losses of all parts are made of."""
        with twice_differentiable() as scores:
            for part in self.parts:
                part()
        return scores

    def loss_at(self, weights: Tensor) -> float:
        """The loss at ``weights`` [P]."""
        with self.at(weights):
            return self.loss()

    def gradient(self) -> Tensor:
        """∇L [P].

        Raises:
            CheckFailed: the loss depends on none of the weights, or the gradient is not finite.
        """
        total = torch.zeros_like(self.weights())
        for part in self.parts:
            with room(_ROWS, self.rows), twice_differentiable():
                total += flat(self._gradients(part(), create_graph=False))
        if not torch.isfinite(total).all():
            raise CheckFailed(f"{self.what}: its gradient must be finite; lower the learning rate")
        return total

    def _gradients(self, loss: Tensor, *, create_graph: bool) -> list[Tensor]:
        if not loss.requires_grad:
            raise CheckFailed(f"{self.what}: must depend on its weights; it has no gradient")
        found = torch.autograd.grad(
            loss, self._tensors, create_graph=create_graph, allow_unused=True
        )
        return [
            torch.zeros_like(weight) if part is None else part
            for part, weight in zip(found, self._tensors, strict=True)
        ]

    def hessian_product(self, vector: Tensor) -> Tensor:
        """H v [P]: the gradient of ⟨∇L, v⟩ (Pearlmutter 1994).

        The graph of a loss in a single part is kept for the next product.

        Raises:
            CheckFailed: there is no finite second derivative here.
        """
        return self._product(vector, self._hessian)

    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        """G v [P], G = Jᵀ (∂²L/∂z²) J of the logits z (Schraudolph 2002): what is left of H where
        the network is taken as linear in its weights; it has no negative eigenvalue.

        Raises:
            CheckFailed: as `hessian_product`.
        """
        return self._product(vector, self._gauss_newton)

    def _hessian(self, graph: _Graph, pieces: Sequence[Tensor]) -> Pieces:
        along = inner(graph.gradients, pieces)
        if not along.requires_grad:
            return []
        return torch.autograd.grad(along, self._tensors, retain_graph=True, allow_unused=True)

    def _gauss_newton(self, graph: _Graph, pieces: Sequence[Tensor]) -> Pieces:
        """J v by the derivative of Jᵀ u by u, then the loss's own second derivative, then Jᵀ."""
        logits = graph.logits
        duals = [torch.zeros_like(z, requires_grad=True) for z in logits]
        pulled = torch.autograd.grad(
            logits, self._tensors, duals, create_graph=True, allow_unused=True
        )
        used = [(g, v) for g, v in zip(pulled, pieces, strict=True) if g is not None]
        pushed = torch.autograd.grad(
            inner([g for g, _ in used], [v for _, v in used]), duals, retain_graph=True
        )
        by_logits = torch.autograd.grad(graph.loss, logits, create_graph=True)
        curved = torch.autograd.grad(by_logits, logits, pushed, retain_graph=True)
        return torch.autograd.grad(
            logits, self._tensors, curved, retain_graph=True, allow_unused=True
        )

    def _product(
        self, vector: Tensor, product: Callable[[_Graph, Sequence[Tensor]], Pieces]
    ) -> Tensor:
        """The sum over parts of a product with each part's graph."""
        total = torch.zeros_like(vector)
        pieces, totals = self.unflat(vector), self.unflat(total)
        for part in self.parts:
            with room(_ROWS, self.rows):
                found = product(self._graph(part), pieces)
            for place, piece in enumerate(found):
                if piece is not None:
                    totals[place] += piece
        if not torch.isfinite(total).all():
            rule = "must have a finite second derivative here; take other rows or a snapshot"
            raise CheckFailed(f"{self.what}: {rule}")
        return total

    def _graph(self, part: Part) -> _Graph:
        if self._kept is not None:
            return self._kept
        with twice_differentiable() as scores:
            loss = part()
            gradients = self._gradients(loss, create_graph=True)
        made = _Graph(loss, gradients, [one.logits for one in scores])
        if len(self.parts) == 1:
            self._kept = made
        return made


@contextmanager
def room(key: str, rows: int) -> Iterator[None]:
    """A block whose rows have to fit into the memory.

    Args:
        key: of params.yaml, to lower where they do not.
        rows: of a pass.

    Raises:
        OutOfMemory: they do not.
    """
    try:
        yield
    except RuntimeError as error:  # torch's own of a GPU is one too; that of a CPU has no name
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        rule = f"let the {rows} rows of a pass fit into the memory"
        raise OutOfMemory(broken_rule("params.yaml", key, rows, rule, "lower it")) from None


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """The numbers of all tensors one after the other [P]."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """⟨a, b⟩ of two lists of tensors."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def learnable(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a module that learn, by name."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
