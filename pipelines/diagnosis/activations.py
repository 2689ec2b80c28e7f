"""Units that no longer pass a gradient on: saturated tanh and sigmoid, dead ReLUs.

Every call of these functions is seen, in cells and attention too, and told by the module that
makes it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FLAT = 0.01  # a derivative below this share of its largest counts as saturated
_KINDS = {
    torch.tanh: "tanh",
    torch.Tensor.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    torch.Tensor.sigmoid: "sigmoid",
    torch.relu: "relu",
    torch.nn.functional.relu: "relu",
    torch.Tensor.relu: "relu",
}


@dataclass
class Units:
    """The outputs of one function in one module.

    Attributes:
        kind: tanh, sigmoid or relu.
        flat: outputs whose derivative is next to none.
        seen: outputs.
        alive: for ReLU, whether each unit (last dimension) has been above 0.
    """

    kind: str
    flat: int = 0
    seen: int = 0
    alive: Tensor | None = None

    @property
    def share(self) -> float:
        """Of saturated outputs; for ReLU of units that were never above 0."""
        if self.alive is not None:
            return 1.0 - float(self.alive.double().mean())
        return self.flat / max(1, self.seen)


@dataclass
class Activations(TorchFunctionMode):
    """Watches forward passes within a ``with`` block.

    tanh' = 1 − y² is at most 1, σ' = y (1 − y) at most ¼; an output is saturated where its
    derivative is below 1 % of that.

    Args:
        network: whose modules name the units.
    """

    network: nn.Module
    found: dict[str, Units] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._within: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> "Activations":
        for name, module in self.network.named_modules():
            enter, leave = self._enter(name), self._leave
            self._handles.append(module.register_forward_pre_hook(enter))
            self._handles.append(module.register_forward_hook(leave, always_call=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str) -> Callable[..., None]:
        return lambda *_: self._within.append(name)

    def _leave(self, *_: Any) -> None:
        if self._within:
            self._within.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if (kind := _KINDS.get(func)) and isinstance(made, Tensor) and made.dim():
            self._add(kind, made.detach())
        return made

    def _add(self, kind: str, made: Tensor) -> None:
        where = self._within[-1] if self._within else ""
        units = self.found.setdefault(f"{where}/{kind}".lstrip("/"), Units(kind))
        if kind == "relu":
            alive = (made > 0).flatten(0, -2).any(dim=0)
            units.alive = alive if units.alive is None else units.alive | alive
            return
        slope = 1 - made.square() if kind == "tanh" else 4 * made * (1 - made)
        units.flat += int((slope < _FLAT).sum())
        units.seen += made.numel()

    def shares(self) -> dict[str, float]:
        """Module and kind → saturated or dead share."""
        return {name: units.share for name, units in sorted(self.found.items())}

    def of_kind(self, kind: str) -> float:
        """The share over all modules: of outputs, or of units for ReLU; 0 where there are none."""
        chosen = [units for units in self.found.values() if units.kind == kind]
        if kind == "relu":
            alive = [units.alive for units in chosen if units.alive is not None]
            return 1.0 - float(torch.cat(alive).double().mean()) if alive else 0.0
        return sum(units.flat for units in chosen) / max(1, sum(units.seen for units in chosen))
