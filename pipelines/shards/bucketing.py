"""Batches of rows of like length, in random order."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_POOL = 20  # batches sorted by length together: enough for little padding, few enough to stay random


def bucketed_batches(lengths: Ints, batch_size: int, rng: np.random.Generator) -> Ints:
    """Row numbers [batches, batch_size]; rows that fill no batch are left out, others each time."""
    num_batches = len(lengths) // batch_size
    order = rng.permutation(len(lengths))[: num_batches * batch_size]
    pool = _POOL * batch_size
    pools = [order[first : first + pool] for first in range(0, len(order), pool)]
    in_order = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in pools])
    return rng.permutation(in_order.reshape(num_batches, batch_size), axis=0)
