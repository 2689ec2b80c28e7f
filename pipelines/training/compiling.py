"""PyTorch's compiler, so that what it makes is kept and computes the same each time."""

from collections.abc import Callable
from typing import Any

from pipelines.frame.errors import ParamsError, broken_rule

_MOST_SIZES = 256  # of batches that are compiled; more run uncompiled


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, compiled for each size of its tensors when that is first met.

    What has been compiled is kept, so that the next start only reads it, and kernels are chosen
    without timing them, so that it has the same ones (`pipelines.frame.hardware.settle_compiler`).

    Raises:
        ParamsError: when called, of a machine on which the compiler does not work.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = _MOST_SIZES
    whole = torch.compile(function, dynamic=False)

    def call(*tensors: Any) -> Any:
        try:
            return whole(*tensors)
        except torch._dynamo.exc.TorchDynamoException as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            rule = f"be false where PyTorch's compiler does not work ({told})"
            remedy = "install a C++ compiler (and Triton for a GPU), or set it to false"
            place = ("params.yaml", "hardware.compile", True)
            raise ParamsError(broken_rule(*place, rule, remedy)) from error

    return call
