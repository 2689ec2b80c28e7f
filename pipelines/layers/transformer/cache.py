"""Keys and values of the tokens a search has been through, each written once and never moved.

All W hypotheses of a sentence write their tokens into slots of one table and know, by a row of booleans, which slots
hold their own ancestors. So when hypotheses change places only these booleans are gathered, and attention is a product
of W queries with the table; slots that no hypothesis descends from any more are dropped whenever the table is full.
Shapes: B sentences, W beam, N = B·W hypotheses, P slots in use, C slots there are, H heads, K head width.
"""

import torch
from torch import Tensor

SHORTEST = 16  # slots attention looks at, at least: PyTorch's softmax of fewer takes six times as long on a CPU
_FIRST = 2 * SHORTEST  # slots of a new table
Tables = dict[str, Tensor]


def take_slots(tables: Tables, ancestors_NP: Tensor) -> tuple[Tables, Tensor]:
    """Room for one token more of each hypothesis.

    Args:
        tables: name → keys or values, [B, H, C, K]; what is in use stays where it is unless they are full.
        ancestors_NP: True where a slot holds a token of the hypothesis.

    Returns:
        The tables, perhaps others, and the ancestors with W slots more, of which each hypothesis owns one.
    """
    first = next(iter(tables.values()))
    B, W = len(first), len(ancestors_NP) // len(first)
    if ancestors_NP.shape[1] + W > first.shape[2]:
        tables, ancestors_NP = _larger(tables, ancestors_NP.view(B, W, -1), W)
    own_NW = torch.eye(W, dtype=torch.bool, device=ancestors_NP.device).repeat(B, 1)
    return tables, torch.cat([ancestors_NP, own_NW], dim=1)


def _larger(tables: Tables, ancestors_BWP: Tensor, more: int) -> tuple[Tables, Tensor]:
    """Tables of which at least half is free, without the slots of the dead."""
    alive_BP = ancestors_BWP.any(dim=1)
    kept = int(alive_BP.sum(dim=1).max()) if alive_BP.shape[1] else 0
    order_BP = alive_BP.byte().argsort(dim=1, descending=True, stable=True)[:, :kept]
    size = max(_FIRST, 2 * (kept + more))
    grown = {}
    for name, table in tables.items():
        B, H, _, K = table.shape
        sentence_B11, head_H1 = (
            torch.arange(B, device=table.device)[:, None, None],
            torch.arange(H, device=table.device)[:, None],
        )
        grown[name] = table.new_zeros(B, H, size, K)
        grown[name][:, :, :kept] = table[sentence_B11, head_H1, order_BP[:, None]]
    rows = order_BP[:, None].expand(-1, ancestors_BWP.shape[1], -1)
    return grown, ancestors_BWP.gather(2, rows).flatten(0, 1)
