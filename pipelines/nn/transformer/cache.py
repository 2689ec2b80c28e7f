"""Keys and values of the tokens a search has been through, each written once and never moved.

All W hypotheses of a sentence write their tokens into slots of one table and know, by a row of
booleans, which slots hold their own ancestors. So when hypotheses change places only these booleans
are gathered, and attention is a product of W queries with the table. On a CPU, slots that no
hypothesis descends from any more are written again; on a GPU each token has a slot of its own, for
to know which are free is to wait for the device.

Shapes: B sentences, W beam, N = B·W hypotheses, P slots in use, C slots there are, H heads, K
head width.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.nn.cuda import waiting

# Slots that attention looks at, at least: a softmax of fewer takes six times as long on a CPU.
SHORTEST = 16
_MORE = 8  # slots at a time
Tables = dict[str, Tensor]


class Slots(NamedTuple):
    """Room for one token more of each hypothesis.

    Attributes:
        tables: name → keys or values, [B, H, C, K].
        ancestors_NP: True where a slot holds a token of the hypothesis, or will hold its next one.
        places: of the next tokens, by hypothesis and head: rows [N·H] of a table seen as [B·H·C,
            K].
    """

    tables: Tables
    ancestors_NP: Tensor
    places: Tensor


def take_slots(tables: Tables, ancestors_NP: Tensor) -> Slots:
    """A slot for each hypothesis; tables stay where they are unless they are full.

    Args:
        tables: see `Slots`.
        ancestors_NP: True where a slot holds a token of the hypothesis.

    One sentence, a beam of two. Slots 0 and 1 hold the first step's tokens, and both hypotheses
    have gone on from the one in slot 0. So slot 1 is free again: the first hypothesis writes its
    next token there, the second one into slot 2.

    >>> slots = take_slots({"key": torch.zeros(1, 1, 32, 4)}, torch.tensor([[1, 0], [1, 0]]).bool())
    >>> slots.places.tolist()
    [1, 2]
    >>> slots.ancestors_NP[:, :4].int().tolist()
    [[1, 1, 0, 0], [1, 0, 1, 0]]
    """
    B, H, _, _ = next(iter(tables.values())).shape
    W, P = len(ancestors_NP) // B, ancestors_NP.shape[1]
    if waiting.runs_ahead(ancestors_NP):
        own_N = torch.arange(P, P + W, device=ancestors_NP.device).repeat(B)
        tables = _with_room(tables, P + W)
        return _taken(tables, F.pad(ancestors_NP, (0, W)), own_N, (B, W, H))
    # Slots from which no hypothesis of the sentence descends; W are needed.
    free_BP = ~ancestors_NP.view(B, W, P).any(dim=1)
    missing = W - int(free_BP.sum(dim=1).min())
    if missing > 0:
        more = max(SHORTEST - P, -(-missing // _MORE) * _MORE)
        free_BP, ancestors_NP = (
            F.pad(free_BP, (0, more), value=True),
            F.pad(ancestors_NP, (0, more)),
        )
        tables = _with_room(tables, P + more)
    # The first W free slots of each sentence, one for each hypothesis in order.
    own_N = (free_BP & (free_BP.cumsum(dim=1) <= W)).nonzero()[:, 1]
    return _taken(tables, ancestors_NP, own_N, (B, W, H))


def _with_room(tables: Tables, slots: int) -> Tables:
    """Tables of so many slots; full ones get twice the room, so that this happens rarely."""
    if (C := next(iter(tables.values())).shape[2]) >= slots:
        return tables
    return {name: F.pad(table, (0, 0, 0, 2 * slots - C)) for name, table in tables.items()}


def _taken(
    tables: Tables, ancestors_NP: Tensor, own_N: Tensor, sizes: tuple[int, int, int]
) -> Slots:
    """Slots in which each hypothesis has taken its own; ``sizes`` are B, W and H."""
    B, W, H = sizes
    C = next(iter(tables.values())).shape[2]
    table_BH = torch.arange(B * H, device=own_N.device).view(B, 1, H) * C
    places = (table_BH + own_N.view(B, W, 1)).flatten()
    return Slots(tables, ancestors_NP.scatter(1, own_N[:, None], True), places)
