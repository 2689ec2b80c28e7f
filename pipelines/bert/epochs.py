"""An epoch on disk: its pairs in the order of training, and which of them share a row.

Memory-mapped, so that memory stays flat and loader processes share it; named by all that decides
it, so that a resumed run finds it again.
"""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from pipelines.bert.packing import pack
from pipelines.bert.segment_pairs import PAIR, PairRules, Pairs, make_pairs
from pipelines.formats.randomness import generator
from pipelines.formats.shards.arrays import DocumentShard
from pipelines.frame.processes import exclusive

Ints = npt.NDArray[np.int64]
_PART = 1 << 20  # pairs written at a time


@dataclass(frozen=True)
class Epoch:
    """One pass over the documents.

    Attributes:
        pairs: items of `PAIR`, in the order of training.
        rows: [R + 1]; row r holds the pairs ``rows[r]`` … ``rows[r + 1]``.
    """

    pairs: Pairs
    rows: Ints

    def __len__(self) -> int:
        """Number of rows in the epoch."""
        return len(self.rows) - 1


class Epochs:
    """The epochs of one split.

    Args:
        shard: its documents.
        seed: of the project.
        purpose: name of the random streams, ``train`` or ``valid``.
        packed: several pairs may share a row.
        folder: where plans are kept; None for a place that vanishes with this object.
    """

    def __init__(
        self, shard: DocumentShard, *, seed: int, purpose: str, packed: bool, folder: Path | None
    ) -> None:
        self._shard, self._seed, self._purpose, self._packed = shard, seed, purpose, packed
        self._temporary = TemporaryDirectory(prefix="maskline-") if folder is None else None
        self._folder = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self._open: dict[str, Epoch] = {}

    def __call__(self, epoch: int, rules: PairRules) -> Epoch:
        """The plan of an epoch, made where it does not lie there yet."""
        name = f"{self._purpose}-{epoch}-{rules.max_length}"
        if name not in self._open:
            folder = self._folder / name
            if not folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                # One loader process writes the epoch, the others wait for it.
                with exclusive(self._folder / f"{name}.lock", patience_s=3600, told=False):
                    if not folder.is_dir():
                        self._write(folder, epoch, rules)
            self._open = {
                name: Epoch(np.load(folder / "pairs.npy", "r"), np.load(folder / "rows.npy", "r"))
            }
        return self._open[name]

    def _write(self, folder: Path, epoch: int, rules: PairRules) -> None:
        for old in self._folder.glob(f"{self._purpose}-*-*/"):
            if int(old.name.split("-")[1]) < epoch - 1:
                shutil.rmtree(old)
        with _appearing(folder) as temporary:
            pairs = _collect(
                make_pairs(self._shard, rules, seed=self._seed, purpose=self._purpose, epoch=epoch),
                temporary,
            )
            rng = generator(self._seed, f"{self._purpose} order", epoch)
            order, rows = self._rows(pairs, rules, rng)
            np.save(temporary / "rows.npy", rows)
            ordered = np.lib.format.open_memmap(temporary / "pairs.npy", "w+", PAIR, (len(pairs),))
            for first in range(0, len(pairs), _PART):
                ordered[first : first + _PART] = pairs[order[first : first + _PART]]
            ordered.flush()

    def _rows(self, pairs: Pairs, rules: PairRules, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Pairs in random order, or rows of them in random order."""
        shuffled = rng.permutation(len(pairs))
        if not self._packed:
            return shuffled, np.arange(len(pairs) + 1)
        lengths = (
            pairs["a_size"][shuffled].astype(np.int64)
            + pairs["b_size"][shuffled]
            + rules.num_special
        )
        packed, rows = pack(lengths, rules.max_length)
        moved = rng.permutation(len(rows) - 1)
        sizes = np.diff(rows)[moved]
        ends = np.cumsum(sizes)
        order = np.repeat(rows[moved] - (ends - sizes), sizes) + np.arange(len(packed))
        return shuffled[packed[order]], np.concatenate([[0], ends])


def _collect(blocks: Iterator[Pairs], folder: Path) -> Pairs:
    """All pairs of an epoch as one memory-mapped array."""
    first = next(blocks, np.zeros(0, PAIR))
    path = folder / "unordered"
    with path.open("wb") as file:
        for block in itertools.chain([first], blocks):
            file.write(block.tobytes())
    size = path.stat().st_size // PAIR.itemsize
    mapped: Pairs = np.memmap(path, PAIR, "r", shape=(size,)) if size else first
    path.unlink()
    return mapped


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder that stands at its name whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    temporary.rename(folder)
