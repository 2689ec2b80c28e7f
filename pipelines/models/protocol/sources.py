"""Source sentences as an encoder takes them.

Shapes: B batch, S source length.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipelines.formats.shards.arrays import Tokens
from pipelines.formats.vocabulary.special_tokens import CLS, PAD, SEP


def sources(rows: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """[CLS] x [SEP] of each sentence, padded: ids [B, S] and lengths [B]."""
    lengths = [len(row) + 2 for row in rows]
    source_BS = np.full((len(rows), max(lengths)), PAD, np.int64)
    for number, row in enumerate(rows):
        source_BS[number, 0] = CLS
        source_BS[number, 1 : len(row) + 1] = row
        source_BS[number, len(row) + 1] = SEP
    return torch.from_numpy(source_BS), torch.tensor(lengths)
