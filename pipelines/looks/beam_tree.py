"""A search as a tree of the prefixes that lived in its beams."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipelines.decoding.options import Hypothesis
from pipelines.decoding.trace import Trace

_NOWHERE = 10**6  # the rank of what leads to no hypothesis
_LEAST_DRAWN = math.log(0.01)


@dataclass
class BeamNode:
    """A token of a hypothesis that lived, and what continued it.

    Attributes:
        token: as text; the root has none.
        log_probability: of the token, given those before it.
        rank: place among the hypotheses that are returned, 1 is the best, if one of them ends here.
    """

    token: str = ""
    log_probability: float = 0.0
    rank: int | None = None
    children: dict[int, "BeamNode"] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """Rank of the best hypothesis that passes here."""
        own = [self.rank] if self.rank else []
        return min([*own, *(child.best for child in self.children.values())], default=_NOWHERE)


def beam_tree(
    trace: Trace, hypotheses: Sequence[Hypothesis], token_of: Callable[[int], str]
) -> BeamNode:
    """The tree of all prefixes that lived in the beams of one sentence,
    with the hypotheses that came out.
    """
    root = BeamNode()
    for beam in range(trace.num_beams):
        _add_beam(root, trace, beam, token_of)
    for rank, hypothesis in enumerate(hypotheses, start=1):
        node = root
        for token, gain in zip(hypothesis.tokens, hypothesis.token_log_probabilities, strict=True):
            node = _child(node, token, gain, token_of)
        node.rank = rank
    return root


def _add_beam(root: BeamNode, trace: Trace, beam: int, token_of: Callable[[int], str]) -> None:
    rows = [root]
    for step in trace.steps:
        after = []
        for parent, token, gain, total in zip(
            *(
                part[beam].tolist()
                for part in (step.parent, step.token, step.gain, step.log_probability)
            ),
            strict=True,
        ):
            alive = total > float("-inf") and parent < len(rows)
            after.append(_child(rows[parent], token, gain, token_of) if alive else BeamNode())
        rows = after


def _child(node: BeamNode, token: int, gain: float, token_of: Callable[[int], str]) -> BeamNode:
    return node.children.setdefault(token, BeamNode(token_of(token), gain))


def tree_lines(root: BeamNode) -> list[str]:
    """One token a line with its probability, the best hypothesis on top;
    ◆ and a number where one ends.

    Of branches that end in no hypothesis only those of at least 0.01 are drawn; the others are
    counted.
    """
    lines: list[str] = []

    def write(node: BeamNode, before: str) -> None:
        children = sorted(
            node.children.values(), key=lambda child: (child.best, -child.log_probability)
        )
        unlikely = [
            child
            for child in children
            if child.best == _NOWHERE and child.log_probability < _LEAST_DRAWN
        ]
        children = [child for child in children if child not in unlikely]
        for number, child in enumerate(children):
            last = number == len(children) - 1 and not unlikely
            ends = f" ◆ {child.rank}" if child.rank else ""
            lines.append(
                f"{before}{'└' if last else '├'}─ {child.token} "
                f"{math.exp(child.log_probability):.2f}{ends}"
            )
            write(child, before + ("   " if last else "│  "))
        if unlikely:
            lines.append(f"{before}└─ … {len(unlikely)} below 0.01")

    write(root, "")
    return lines


def in_order(node: BeamNode) -> list[BeamNode]:
    """A node's continuations: those of the best hypotheses first, then the likelier."""
    return sorted(node.children.values(), key=lambda child: (child.best, -child.log_probability))
