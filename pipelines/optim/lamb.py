"""LAMB, and AdamW without bias correction: what PyTorch does not have of the Adam family."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lamb(Optimizer):
    """Adam with decoupled weight decay, optionally uncorrected, optionally scaled per tensor.

    With m, v the moving averages of g and g² (divided by 1 − βᵗ if ``bias_correction``), a step is
    w ← w − lr · r · (m / (√v + ε) + λ w), where r = ‖w‖ / ‖m / (√v + ε) + λ w‖ with ``trust_ratio``
    (You et al. 2020, algorithm 2; φ the identity, r = 1 where a norm is 0) and 1 without. Neither
    correction nor ratio is ``AdamWeightDecayOptimizer`` of google-research/bert.

    Args:
        groups: parameters, or groups with their ``weight_decay`` λ.
        learning_rate: lr.
        betas: of m and v.
        epsilon: ε.
        bias_correction: divide the averages by 1 − βᵗ.
        trust_ratio: scale the step of decayed tensors to their norm; biases and norms (λ = 0) take
            r = 1.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        learning_rate: float,
        *,
        betas: tuple[float, float],
        epsilon: float,
        bias_correction: bool,
        trust_ratio: bool,
    ) -> None:
        defaults = {
            "lr": learning_rate,
            "betas": betas,
            "eps": epsilon,
            "weight_decay": 0.0,
            "step": 0,
        }
        super().__init__(
            groups, {**defaults, "bias_correction": bias_correction, "trust_ratio": trust_ratio}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if closure is not None:
            with torch.enable_grad():
                closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._step_group(group, parameters)

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state.update(m=torch.zeros_like(parameter), v=torch.zeros_like(parameter))
        states = [self.state[parameter] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        m, v = [state["m"] for state in states], [state["v"] for state in states]
        group["step"] = t = group["step"] + 1
        torch._foreach_lerp_(m, gradients, 1.0 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, 1.0 - beta2)
        corrected = group["bias_correction"]
        root = torch._foreach_sqrt(v)
        if corrected:
            torch._foreach_div_(root, (1.0 - beta2**t) ** 0.5)
        torch._foreach_add_(root, group["eps"])
        directions = torch._foreach_div(m, root)
        if corrected:
            torch._foreach_div_(directions, 1.0 - beta1**t)
        if decay:
            torch._foreach_add_(directions, parameters, alpha=decay)
        if group["trust_ratio"] and decay:
            for parameter, direction in zip(parameters, directions, strict=True):
                direction.mul_(_trust_ratio(parameter, direction))
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])


def _trust_ratio(parameter: Tensor, direction: Tensor) -> Tensor:
    weight, step = parameter.norm(), direction.norm()
    return torch.where((weight > 0) & (step > 0), weight / step, torch.ones_like(weight))
