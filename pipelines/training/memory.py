"""What to say where rows do not fit into a device's memory."""

from collections.abc import Callable

import torch

from pipelines.frame.errors import OutOfMemory, broken_rule


def too_large(tried: int, attempt: Callable[[int], None], device: torch.device) -> OutOfMemory:
    """The error of rows that do not fit on a device, with how many do: halves are tried."""
    rows = tried // 2
    while rows:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            attempt(rows)
            break
        except torch.OutOfMemoryError:
            rows //= 2
    rule = f"let {tried} rows fit into the memory of {device}"
    remedy = (
        f"set it to {rows}, which do fit; results stay what they are but for last bits"
        if rows
        else "not even one row does: shorter rows, a smaller network, or precision: bf16-mixed"
    )
    place = ("params.yaml", "hardware.micro_batch_size", tried)
    return OutOfMemory(broken_rule(*place, rule, remedy))
