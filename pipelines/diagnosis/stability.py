"""The step that is too large: how far a learning rate may go before an optimizer diverges.

On a quadratic ½ λ x² each optimizer's steps are a linear recurrence, which grows exactly where the
learning rate η exceeds a factor over λ. On a network that factor is a warning: full-batch training
hovers at it (Cohen et al. 2021), mini-batches keep below.

| optimizer | bound of λ η | of which matrix | source |
|---|---|---|---|
| gradient descent | 2 | H | Cohen et al. 2021, section 2 |
| momentum β | 2 + 2β | H | Cohen et al. 2021, appendix B |
| Nesterov's β | (2 + 2β) / (1 + 2β) | H | Cohen et al. 2021, appendix B |
| RMSProp, AdaGrad | 2 | P⁻¹ H, preconditioned | Cohen et al. 2022, section 3 |
| Adam, AdamW β₁ | (2 + 2β₁) / (1 − β₁), 38 at 0.9 | P⁻¹ H | Cohen et al. 2022, equation 4 |

P is the diagonal √v + ε of the squared gradients' average v. LAMB and Muon have no such bound.
"""

from dataclasses import dataclass

from torch import Tensor

from pipelines.diagnosis.curvature import Product, eigenpairs
from pipelines.optim import params as schemas


@dataclass(frozen=True)
class Bound:
    """Where λ η of an optimizer ends.

    Attributes:
        factor: the largest λ η that does not diverge on a quadratic.
        preconditioned: λ is of the preconditioned Hessian.
    """

    factor: float
    preconditioned: bool


def bound_of(optimizer: schemas.Optimizer) -> Bound | None:
    """The bound of an optimizer; None where none is known."""
    match optimizer:
        case schemas.Sgd():
            return Bound(2.0, preconditioned=False)
        case schemas.Momentum(name="momentum", momentum=beta):
            return Bound(2.0 + 2.0 * beta, preconditioned=False)
        case schemas.Momentum(momentum=beta):
            return Bound((2.0 + 2.0 * beta) / (1.0 + 2.0 * beta), preconditioned=False)
        case schemas.RmsProp() | schemas.Adagrad():
            return Bound(2.0, preconditioned=True)
        case schemas.Adam(beta1=beta) | schemas.AdamW(beta1=beta):
            return Bound((2.0 + 2.0 * beta) / (1.0 - beta), preconditioned=True)
    return None


def preconditioned(product: Product, second_moment: Tensor, epsilon: float) -> Product:
    """V → P^(−½) A P^(−½) v, P = √(second moment) + ε: it has the eigenvalues of P⁻¹ A, and is
    symmetric.

    Args:
        product: of A.
        second_moment: average of squared gradients [P], corrected for its start.
        epsilon: of the optimizer.
    """
    scale = (second_moment.sqrt() + epsilon).rsqrt()
    return lambda vector: scale * product(scale * vector)


@dataclass(frozen=True)
class Stability:
    """A learning rate against the bound.

    Attributes:
        sharpness: the largest eigenvalue of the Hessian.
        preconditioned_sharpness: of the preconditioned one; None where the bound needs none.
        factor: see `Bound`.
        learning_rate: of the update at hand.
        largest_stable: factor over the sharpness that counts.
        ratio: learning rate over that; above 1 is a warning.
    """

    sharpness: float
    preconditioned_sharpness: float | None
    factor: float
    learning_rate: float
    largest_stable: float
    ratio: float


def stability(
    product: Product,
    sharpness: float,
    bound: Bound,
    learning_rate: float,
    *,
    moment: tuple[Tensor, float] | None = None,
    seed: int = 0,
) -> Stability:
    """Hold a learning rate against an optimizer's bound.

    Args:
        product: of the Hessian.
        sharpness: its largest eigenvalue.
        bound: of the optimizer.
        learning_rate: at hand.
        moment: average of squared gradients [P] and ε; needed by preconditioned bounds.
        seed: of ARPACK's start.
    """
    counts, own = sharpness, None
    if bound.preconditioned:
        assert moment is not None
        second_moment, epsilon = moment
        pairs = eigenpairs(
            preconditioned(product, second_moment, epsilon),
            second_moment,
            1,
            tolerance=1e-2,
            seed=seed,
        )
        own = counts = pairs.values[0] if pairs.values else float("nan")
    largest = bound.factor / counts if counts > 0 else float("inf")
    return Stability(sharpness, own, bound.factor, learning_rate, largest, learning_rate / largest)
