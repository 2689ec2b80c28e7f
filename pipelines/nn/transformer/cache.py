"""Keys and values of the tokens a search has been through, each written once and never moved.

All W hypotheses of a sentence write their tokens into slots of one table and know, by a row of
booleans, which slots hold their own ancestors. So when hypotheses change places only these booleans
are gathered, and attention is a product of W queries with the table. Slots that no hypothesis
descends from any more are written again.

Shapes: B sentences, W beam, N = B·W hypotheses, P slots in use, C slots there are, H heads, K
head width.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

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
    B, H, C, _ = next(iter(tables.values())).shape
    W, P = len(ancestors_NP) // B, ancestors_NP.shape[1]
    # Slots from which no hypothesis of the sentence descends; W are needed.
    free_BP = ~ancestors_NP.view(B, W, P).any(dim=1)
    missing = W - int(free_BP.sum(dim=1).min())
    if missing > 0:
        more = max(SHORTEST - P, -(-missing // _MORE) * _MORE)
        free_BP, ancestors_NP = (
            F.pad(free_BP, (0, more), value=True),
            F.pad(ancestors_NP, (0, more)),
        )
        if P + more > C:  # the tables are full: twice the room, so that this happens rarely
            tables = {
                name: F.pad(table, (0, 0, 0, 2 * (P + more) - C)) for name, table in tables.items()
            }
            C = 2 * (P + more)
    # The first W free slots of each sentence, one for each hypothesis in order.
    own_N = (free_BP & (free_BP.cumsum(dim=1) <= W)).nonzero()[:, 1]
    table_BH = torch.arange(B * H, device=own_N.device).view(B, 1, H) * C
    places = (table_BH + own_N.view(B, W, 1)).flatten()
    return Slots(tables, ancestors_NP.scatter(1, own_N[:, None], True), places)
