"""Whether reading a number makes this process wait."""

from torch import Tensor


def runs_ahead(tensor: Tensor) -> bool:
    """Whether Python runs ahead of the tensor's device: what is computed there is not yet known,
    and to read one number is to wait for all that was asked before it.
    """
    return tensor.device.type != "cpu"
