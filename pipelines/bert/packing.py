"""Several sequences in one row: which lengths go together, planned from the histogram of lengths.

Krell et al. 2021, "Efficient sequence packing without cross-contamination": the cost depends on the
number of different lengths, not of sequences. Here each sequence, longest first, goes where the
least room is left.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def pack(lengths: Ints, room: int) -> tuple[Ints, Ints]:
    """Put sequences into rows of ``room`` tokens.

    Args:
        lengths: [N], each from 1 to ``room``.
        room: tokens in a row.

    Returns:
        ``order`` [N], sequence numbers row after row, and ``rows`` [R + 1]: row r is
        ``order[rows[r]:rows[r + 1]]``. Sequences of one length are used in the order they come in.
    """
    counts = Counter(dict(enumerate(np.bincount(lengths, minlength=room + 1).tolist())))
    shapes = _shapes(counts, room)
    waiting = np.argsort(lengths, kind="stable")  # sequences by length
    cursor = np.concatenate([[0], np.cumsum(np.bincount(lengths, minlength=room + 1))])[:-1]
    parts, sizes = [], []
    for shape, number in shapes:
        columns = np.empty((number, len(shape)), np.int64)
        for column, length in enumerate(shape):
            columns[:, column] = waiting[cursor[length] : cursor[length] + number]
            cursor[length] += number
        parts.append(columns.ravel())
        sizes.append(np.full(number, len(shape)))
    rows = (
        np.concatenate([[0], np.cumsum(np.concatenate(sizes))]) if sizes else np.zeros(1, np.int64)
    )
    return np.concatenate(parts) if parts else np.zeros(0, np.int64), rows


def _shapes(counts: Counter[int], room: int) -> list[tuple[tuple[int, ...], int]]:
    """Kinds of rows (the lengths in them) and how many of each.

    Rows of 8 tokens, and sequences of 7, 5, 5, 3, 2, 2, 2. The 7 and both 5s open a row each. The 3
    goes where exactly 3 are left, which fills that row; the first 2 finds 3 left in the other one.
    Two are over and share a new row:

    >>> sorted(_shapes(Counter({7: 1, 5: 2, 3: 1, 2: 3}), room=8))
    [((2, 2), 1), ((5, 2), 1), ((5, 3), 1), ((7,), 1)]
    """
    # open_rows[r] holds the kinds with r tokens left, and how many rows of each there are.
    open_rows: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in range(room + 1)]
    for length in range(room, 0, -1):
        number = counts[length]
        # Best fit: into rows with the least room that is enough, many of a kind at a time.
        left = length
        while number and left <= room:
            if not open_rows[left]:
                left += 1
                continue
            shape, available = open_rows[left].pop()
            taken = min(number, available)
            if available > taken:
                open_rows[left].append((shape, available - taken))
            open_rows[left - length].append(((*shape, length), taken))
            number -= taken
        # What fits nowhere opens rows of its own, as full as this length alone makes them.
        while number:
            per_row = room // length
            rows = number // per_row
            if rows:
                open_rows[room - per_row * length].append(((length,) * per_row, rows))
                number -= rows * per_row
            else:
                open_rows[room - number * length].append(((length,) * number, 1))
                number = 0
    return [kind for kinds in open_rows for kind in kinds]
