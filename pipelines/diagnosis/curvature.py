"""Extreme eigenvalues, trace and density of a symmetric matrix that is known by its products.

A matrix is a function v → A v of vectors [P]; `Problem.hessian_product` is one. Eigenvalues are
ARPACK's (implicitly restarted Lanczos, Lehoucq et al. 1998), the density is of stochastic Lanczos
quadrature (Golub & Meurant 1994; Ghorbani et al. 2019, algorithm 1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from pipelines.diagnosis.problem import Problem

Product = Callable[[Tensor], Tensor]
Array = NDArray[np.float64]
_ROOM, _RESTARTS = 20, 40  # vectors that ARPACK holds at least, and how often it begins anew


@dataclass(frozen=True)
class Eigenpairs:
    """Some eigenvalues, the largest first, and their directions.

    Attributes:
        values: [K].
        vectors: K of [P], of length 1.
        residuals: ‖A v − λ v‖ of each [K]: no further is the next true eigenvalue.
    """

    values: list[float]
    vectors: Sequence[Tensor]
    residuals: list[float]


def eigenpairs(
    product: Product,
    like: Tensor,
    count: int,
    *,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Eigenpairs:
    """The largest eigenvalues, by value, not by size.

    Args:
        product: of the matrix.
        like: a vector [P], for its type and device.
        count: how many.
        tolerance: of an eigenvalue, relative; ARPACK stops there.
        seed: of the vector it starts from.

    Returns:
        As many as there are; ``residuals`` tell how well those are known that have not converged
        after some hundred products.
    """
    size = len(like)
    if size <= max(12, count + 1):
        return _dense(product, like, count)
    start = _probe(like, seed, "normal").cpu().numpy()

    def times(vector: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = torch.from_numpy(vector.ravel()).to(like.device, like.dtype)
        return product(moved).cpu().numpy()

    matrix = LinearOperator((size, size), matvec=times, dtype=start.dtype)
    room = min(size, max(2 * count + 1, _ROOM))
    settings = {"which": "LA", "tol": tolerance, "v0": start}
    try:
        values, vectors = eigsh(matrix, count, ncv=room, maxiter=_RESTARTS, **settings)
    except ArpackError:  # they lie too close to each other, or the matrix is 0
        made = lanczos(product, _probe(like, seed, "normal"), 2 * room)
        return made.largest(product, count)
    return _checked(product, values, torch.from_numpy(vectors.T).to(like))


def _dense(product: Product, like: Tensor, count: int) -> Eigenpairs:
    unit = torch.eye(len(like), dtype=like.dtype, device=like.device)
    matrix = torch.stack([product(row) for row in unit])
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return _checked(product, values[-count:].cpu().numpy(), vectors.T[-count:])


def _checked(product: Product, values: Array, vectors: Tensor) -> Eigenpairs:
    order = np.argsort(values)[::-1].tolist()
    pairs = [(float(values[number]), vectors[number]) for number in order]
    residuals = [float((product(vector) - value * vector).norm()) for value, vector in pairs]
    return Eigenpairs([value for value, _ in pairs], [vector for _, vector in pairs], residuals)


@dataclass(frozen=True)
class Spectrum:
    """The density of eigenvalues as points with weights: Σ weights = 1.

    Attributes:
        values: Ritz values, rising.
        weights: share of all eigenvalues that each stands for.
        trace: Σ λ, by the same quadrature.
        trace_error: standard error of it, over the probes; 0 for one.
        lowest: the smallest Ritz value of the first probe, its direction and residual.
    """

    values: list[float]
    weights: list[float]
    trace: float
    trace_error: float
    lowest: Eigenpairs

    @property
    def negative_share(self) -> float:
        """Σ |λ| of the negative eigenvalues in Σ |λ| of all."""
        sizes = [
            abs(value) * weight for value, weight in zip(self.values, self.weights, strict=True)
        ]
        below = sum(size for value, size in zip(self.values, sizes, strict=True) if value < 0)
        return below / max(sum(sizes), 1e-300)

    def for_json(self) -> dict[str, Any]:
        """All but directions."""
        return {
            "values": self.values,
            "weights": self.weights,
            "trace": self.trace,
            "trace_error": self.trace_error,
            "negative_share": self.negative_share,
        }


def spectrum(
    product: Product, like: Tensor, *, steps: int, probes: int = 1, seed: int = 0
) -> Spectrum:
    """Density of a matrix's eigenvalues by ``steps`` products for each random probe.

    Each probe v of ±1/√P gives a quadrature whose weights are the squared first entries of the
    eigenvectors of its tridiagonal matrix; its mean is vᵀ A v, Hutchinson's estimate of the trace
    over P.
    """
    points: list[tuple[float, float]] = []
    traces: list[float] = []
    runs = [lanczos(product, _probe(like, seed + n, "signs"), steps) for n in range(probes)]
    for run in runs:
        values, vectors = eigh_tridiagonal(run.diagonal, run.beside)
        weights = vectors[0] ** 2
        points += zip(values.tolist(), (weights / probes).tolist(), strict=True)
        traces.append(float(values @ weights) * len(like))
    points.sort()
    error = float(np.std(traces, ddof=1) / np.sqrt(probes)) if probes > 1 else 0.0
    return Spectrum(
        [value for value, _ in points],
        [weight for _, weight in points],
        float(np.mean(traces)),
        error,
        runs[0].lowest(product),
    )


@dataclass(frozen=True)
class Tridiagonal:
    """Qᵀ A Q, Q an orthonormal basis of a Krylov space of A.

    Attributes:
        diagonal: [m].
        beside: the secondary diagonal [m − 1].
        basis: Qᵀ [m, P].
    """

    diagonal: Array
    beside: Array
    basis: Tensor

    def values(self) -> Array:
        """Ritz values, rising: each lies between the extreme eigenvalues of A."""
        found: Array = eigh_tridiagonal(self.diagonal, self.beside, eigvals_only=True)
        return found

    def largest(self, product: Product, count: int) -> Eigenpairs:
        """So many of the largest Ritz values, and their directions."""
        return self._ritz(product, slice(-count, None))

    def lowest(self, product: Product) -> Eigenpairs:
        """The smallest Ritz value, and its direction."""
        return self._ritz(product, slice(0, 1))

    def _ritz(self, product: Product, chosen: slice) -> Eigenpairs:
        values, vectors = eigh_tridiagonal(self.diagonal, self.beside)
        weights = torch.from_numpy(vectors[:, chosen].T.copy()).to(self.basis)
        directions = weights @ self.basis
        return _checked(product, values[chosen], directions / directions.norm(dim=1)[:, None])


def lanczos(product: Product, start: Tensor, steps: int) -> Tridiagonal:
    """The matrix in the basis that products make from ``start``; m = ``steps``, or less where that
    space is smaller.

    Every new vector is made orthogonal to all before it, twice: rounding would bring back
    eigenvalues that are there already (Golub & Van Loan, section 10.3).
    """
    steps = min(steps, len(start))
    basis = torch.empty(steps, len(start), dtype=start.dtype, device=start.device)
    basis[0] = start / start.norm()
    diagonal: list[float] = []
    beside: list[float] = []
    for number in range(steps):
        vector = product(basis[number])
        diagonal.append(float(vector @ basis[number]))
        known = basis[: number + 1]
        for _ in range(2):
            vector = vector - known.T @ (known @ vector)
        length = float(vector.norm())
        scale = max(map(abs, diagonal + beside))
        if number + 1 == steps or length <= 10 * torch.finfo(start.dtype).eps * scale:
            break
        beside.append(length)
        basis[number + 1] = vector / length
    size = len(diagonal)
    return Tridiagonal(np.array(diagonal), np.array(beside[: size - 1]), basis[:size])


def _probe(like: Tensor, seed: int, kind: str) -> Tensor:
    """A random vector [P] of its own stream: the same on every device."""
    stream = torch.Generator().manual_seed(seed)
    if kind == "signs":
        drawn = torch.randint(0, 2, (len(like),), generator=stream) * 2.0 - 1.0
        return (drawn / len(like) ** 0.5).to(like)
    return torch.randn(len(like), generator=stream).to(like)


@dataclass(frozen=True)
class Point:
    """What kind of point of the loss this is.

    Attributes:
        kind: ``minimum``, ``saddle`` or ``plateau``.
        negative_share: see `Spectrum`.
        lowest: the most negative eigenvalue that was found.
        fall: how far the loss falls along its direction, at most.
        distance: how far away that is, as a share of the weights' length.
        gradient_fall: how far the loss falls against the gradient, at most, over the same
            distances.
    """

    kind: str
    negative_share: float
    lowest: float
    fall: float
    distance: float
    gradient_fall: float

    @property
    def holds(self) -> bool:
        """It is a saddle that gradient descent is stuck at: curvature leads further down than the
        gradient does.
        """
        return self.kind == "saddle" and self.fall > self.gradient_fall


def kind_of_point(problem: Problem, found: Spectrum, top: float) -> Point:
    """Minimum, saddle or plateau, and what the most negative direction leads to.

    A plateau has no curvature to speak of: the largest eigenvalue is below 1e-6 of the loss. At a
    saddle the lowest eigenvalue is below −1e-3 of the largest: float32 and few rows leave smaller
    ones in doubt.
    """
    value, here = found.lowest.values[0], problem.loss()
    share, scale = found.negative_share, max(abs(top), abs(value))
    gradient = problem.gradient()
    steep, _ = _fall(problem, -gradient / gradient.norm().clamp(min=1e-30), here)
    if scale < 1e-6 * max(abs(here), 1e-6):
        return Point("plateau", share, value, 0.0, 0.0, steep)
    if value > -1e-3 * scale:
        return Point("minimum", share, value, 0.0, 0.0, steep)
    fall, distance = _fall(problem, found.lowest.vectors[0], here)
    return Point("saddle", share, value, fall, distance, steep)


def _fall(problem: Problem, direction: Tensor, here: float) -> tuple[float, float]:
    """How far the loss falls along a direction and its opposite, and how far away."""
    weights = problem.weights()
    length = max(float(weights.norm()), 1.0)
    tried = [
        (here - problem.loss_at(weights + sign * length * share * direction), share)
        for share in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
        for sign in (-1, 1)
    ]
    fall, share = max(tried)
    return (fall, share) if fall > 0 else (0.0, 0.0)
