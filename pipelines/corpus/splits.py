"""Which text is held out: by its content, so that it stays where it is when other text comes.

A share takes what lies below a threshold of its hash: adding text moves nothing that was there. A
fixed size takes the lowest hashes: text that is added may displace some, which is reported.
"""

from collections.abc import Sequence

from pipelines.corpus.passages import Document, Pair, share_of

Size = float | int


def hold_out(passages: Sequence[Document | Pair], split: str, size: Size) -> list[int]:
    """The places of passages that a split takes.

    A fixed size counts pairs, or sentences of documents; as many documents are taken as it takes to
    reach it. Passages with the same key go together.

    Args:
        passages: that may be taken.
        split: valid or test; each has a hash of its own.
        size: a share between 0 and 1, or a number from 1.
    """
    if isinstance(size, float):
        return [
            place for place, passage in enumerate(passages) if share_of(passage.key, split) < size
        ]
    order = sorted(
        range(len(passages)), key=lambda place: (share_of(passages[place].key, split), place)
    )
    taken: list[int] = []
    count, last = 0, None
    for place in order:
        passage = passages[place]
        if count >= size and passage.key != last:
            break
        taken.append(place)
        count += 1 if isinstance(passage, Pair) else len(passage.sentences)
        last = passage.key
    return sorted(taken)


def copies_of(passage: Document | Pair, weight: float) -> int:
    """How often a training passage is written: the whole part of the weight, and once more for a
    share of the passages that is its fraction.
    """
    whole = int(weight)
    more = weight > whole and share_of(passage.key, "weight") < weight - whole
    return whole + more
