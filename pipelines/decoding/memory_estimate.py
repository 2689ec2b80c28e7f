"""Whether a search fits into memory, before it starts."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipelines.decoding.options import SearchOptions
from pipelines.frame.errors import DataError, broken_rule

_RECORD = 32  # bytes of a step of a hypothesis: two numbers, two ids


class TooLarge(DataError):
    """A search could need more memory than there is."""


def check_memory(state: Mapping[str, Tensor], num_sentences: int, options: SearchOptions) -> None:
    """Refuse a search that could need more memory than there is.

    Args:
        state: of the model before the first step.
        num_sentences: in the batch.
        options: of the search.

    Raises:
        TooLarge: it could; with the estimate, for hypotheses that share nothing.
    """
    tables = [
        table for name, table in state.items() if name.split(".")[-2:-1] in (["key"], ["value"])
    ]
    slot = sum(table.shape[1] * table.shape[3] * table.itemsize for table in tables)
    row = sum(
        part[0].nbytes
        for part in state.values()
        if part.dim() in (2, 3) and len(part) == num_sentences
    )
    per_hypothesis = options.max_length * (slot + _RECORD) + row
    needed = num_sentences * options.beam_size * per_hypothesis
    device = next(iter(state.values())).device
    free = available(device) // options.at_once
    if needed > free:
        rule = (
            f"need no more memory than there is: up to {needed / 2**30:.1f} GiB of "
            f"{free / 2**30:.1f} GiB"
        )
        where = f"search of {num_sentences} sentences at once, up to {options.max_length} tokens"
        remedy = "lower it, decoding.max_length or decoding.batch_tokens"
        raise TooLarge(broken_rule(where, "beam size", options.beam_size, rule, remedy))


def available(device: torch.device) -> int:
    """Bytes that a device can still give this process."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 2**62  # not told on this system
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
