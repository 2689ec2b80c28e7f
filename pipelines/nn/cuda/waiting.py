"""Whether reading a number makes this process wait."""

from torch import Tensor

_LOOK = 4  # steps: a search is at most so many too long, and waits a quarter as often


def runs_ahead(tensor: Tensor) -> bool:
    """Whether Python runs ahead of the tensor's device: what is computed there is not yet known,
    and to read one number is to wait for all that was asked before it.
    """
    return tensor.device.type != "cpu"


def may_look(tensor: Tensor, step: int) -> bool:
    """Whether a loop should read a number of the tensor after a step, counted from 1: after each
    where nothing waits, else after every fourth.
    """
    return step % _LOOK == 0 or not runs_ahead(tensor)
