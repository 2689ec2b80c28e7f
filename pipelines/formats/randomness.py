"""Random streams that are functions of names and numbers, not of what ran before.

Every random choice outside a network (documents, segment pairs, masks, order) comes from a Philox
counter (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the same seed, purpose
and position give the same draw in any process, on any rank, after any resume.
"""

import hashlib

import numpy as np
import numpy.typing as npt

_WORDS_PER_COUNTER = 8  # Philox4x64 yields four 64-bit words per counter step


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A generator for one purpose at one position, such as ``("pairs", epoch)``."""
    return np.random.Generator(np.random.Philox(key=_key(seed, purpose, *position)))


def bits_block(
    seed: int, purpose: str, *, epoch: int, first: int, count: int, width: int
) -> npt.NDArray[np.uint32]:
    """Rows ``first`` … ``first + count`` of an endless table of 32 random bits each,
    [count, width].

    Row i is the same whichever rows are drawn with it, and costs nothing to reach.
    """
    padded = -(-width // _WORDS_PER_COUNTER) * _WORDS_PER_COUNTER
    philox = np.random.Philox(key=_key(seed, purpose, epoch))
    philox.advance(first * padded // _WORDS_PER_COUNTER)
    return philox.random_raw(count * padded // 2).view(np.uint32).reshape(count, padded)[:, :width]


def stream_seed(seed: int, purpose: str, *position: int) -> int:
    """A seed for a library's own generator, below 2⁶³: at each position another,
    and no state to be saved.
    """
    return int(_key(seed, purpose, *position)[0] >> np.uint64(1))


def _key(seed: int, purpose: str, *position: int) -> npt.NDArray[np.uint64]:
    name = ":".join(str(part) for part in (purpose, seed, *position))
    return np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype=np.uint64)
