"""``near_duplicates``: documents and pairs that are nearly the same as one before."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field

from pipelines.corpus.comparing import words_of
from pipelines.corpus.filters.base import Filter, Judge, Passage


class NearDuplicates(Filter):
    """MinHash-LSH (Broder 1997) by `datasketch`; what it finds is compared in full.

    Two texts are near when their sets of runs of ``ngram`` words have a Jaccard index of at least
    ``threshold``. The first one stays. The hash table offers candidates, of which it misses few
    (``num_hashes``: more, and it misses fewer and costs more); the index itself decides, so that
    nothing is dropped for a collision.
    """

    name: Literal["near_duplicates"]
    ngram: int = Field(ge=1, le=20, examples=[3])
    threshold: float = Field(gt=0, le=1, examples=[0.8])
    num_hashes: int = Field(ge=16, le=1024, examples=[128])

    def begin(self, passages: Iterable[Passage]) -> Judge:
        """A judge that has seen nothing yet."""
        return _Near(self)


class _Near(Judge):
    def __init__(self, params: NearDuplicates) -> None:
        from datasketch import MinHash, MinHashLSH

        self._params = params
        # The table looks below the threshold, lest it miss what is just above.
        low, weights = 0.8 * params.threshold, (0.2, 0.8)  # of false candidates, of missed ones
        self._tables: dict[str, Any] = {
            kind: MinHashLSH(low, params.num_hashes, weights=weights)
            for kind in ("pair", "document")
        }
        # Made once and copied: drawing the permutations takes longer than a sketch. What it hashes
        # are hashes already.
        self._empty = MinHash(params.num_hashes, seed=1, hashfunc=lambda value: value & 0xFFFFFFFF)
        self._kept: dict[str, list[frozenset[int]]] = {"pair": [], "document": []}

    def pair(self, source: str, target: str) -> bool:
        return self._again("pair", f"{source} {target}")

    def document(self, sentences: Sequence[str], language: str) -> bool:
        return self._again("document", " ".join((language, *sentences)))

    def _again(self, kind: str, text: str) -> bool:
        shingles = self._shingles(text)
        sketch = self._empty.copy()
        sketch.update_batch(shingles)
        kept, table = self._kept[kind], self._tables[kind]
        for index in sorted(table.query(sketch)):
            common = len(shingles & kept[index])
            if common >= self._params.threshold * (len(shingles) + len(kept[index]) - common):
                return True
        table.insert(len(kept), sketch)
        kept.append(shingles)
        return False

    def _shingles(self, text: str) -> frozenset[int]:
        """Hashes of the runs of words; of a text with fewer words, of all of them."""
        import xxhash

        words = words_of(text)
        n = min(self._params.ngram, len(words))
        runs = (" ".join(words[at : at + n]) for at in range(len(words) - n + 1))
        return frozenset(xxhash.xxh3_64_intdigest(run.encode()) for run in runs)
