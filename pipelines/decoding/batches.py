"""A whole set of sentences, batch after batch: in order of length, on all devices,
from where a killed run stood.

Shapes: B sentences of a batch, S source length.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.memory_estimate import TooLarge
from pipelines.decoding.options import Hypothesis
from pipelines.decoding.strategies import Strategy
from pipelines.decoding.workers import Workers
from pipelines.formats.shards.arrays import Ragged
from pipelines.frame.errors import OutOfMemory, broken_rule
from pipelines.frame.records import Records
from pipelines.models.protocol.sources import sources


@dataclass(frozen=True)
class Batch:
    """Some sentences of a set.

    Attributes:
        numbers: of the sentences in the set.
        source_BS, lengths_B: as the encoder takes them.
    """

    numbers: list[int]
    source_BS: Tensor
    lengths_B: Tensor

    def halves(self) -> list["Batch"]:
        """Two batches of its sentences, in order."""
        half = len(self.numbers) // 2
        return [
            Batch(self.numbers[part], self.source_BS[part], self.lengths_B[part])
            for part in (slice(half), slice(half, None))
        ]


def batches(source: Ragged, budget: int) -> Iterator[Batch]:
    """Sentences of like length, the longest first: ``budget`` source tokens, padding included,
    or one sentence.

    Sentences without tokens are in no batch: there is nothing to translate.
    """
    order = np.argsort(-source.lengths, kind="stable")[: np.count_nonzero(source.lengths)]
    first = 0
    while first < len(order):
        numbers = order[
            first : first + max(1, budget // (int(source.lengths[order[first]]) + 2))
        ].tolist()
        yield Batch(numbers, *sources([source[number] for number in numbers]))
        first += len(numbers)


@dataclass(frozen=True)
class Found:
    """One search of a set.

    Attributes:
        hypotheses: of each sentence, best first; none of one without tokens.
        seconds: it took, without what was there already.
        searched: sentences in these seconds.
    """

    hypotheses: list[list[Hypothesis]]
    seconds: float
    searched: int


def search_all(
    workers: Workers, source: Ragged, strategy: Strategy, budget: int, done: Records, name: str
) -> Found:
    """Search every sentence; batches that ``done`` holds are taken from there.

    A GPU is given several times the budget at once; what then does not fit is searched in parts.

    Raises:
        OutOfMemory: a batch is too large for the device.
    """
    hypotheses: list[list[Hypothesis]] = [[] for _ in range(len(source))]
    done.rewind(0)  # drops a half-written line
    there = set()
    for record in done.read():
        there.add(tuple(record["numbers"]))
        for number, group in zip(record["numbers"], record["hypotheses"], strict=True):
            hypotheses[number] = [_hypothesis(fields) for fields in group]
    room = workers.room(int(source.lengths.sum()), budget)
    missing = [batch for batch in batches(source, room) if tuple(batch.numbers) not in there]
    progress = _Progress(name, sum(len(batch.numbers) for batch in missing))

    def search(model: Any, device: torch.device, batch: Batch) -> list[list[Hypothesis]]:
        try:
            return beam_search(
                model,
                batch.source_BS.to(device),
                batch.lengths_B.to(device),
                replace(strategy.options, at_once=workers.at_once),
                selector=strategy.selector(batch.numbers),
                rules=strategy.rules,
            )
        except (torch.OutOfMemoryError, TooLarge) as error:
            if batch.source_BS.numel() <= budget or len(batch.numbers) == 1:
                if isinstance(error, TooLarge):
                    raise
                rule = f"let a batch fit into the memory of {device}"
                remedy = f"set it to {budget // 2}; translations stay what they are"
                place = ("params.yaml", "decoding.batch_tokens", budget)
                raise OutOfMemory(broken_rule(*place, rule, remedy)) from None
        # Not above, where the error still holds all that the search had filled.
        halves = [search(model, device, half) for half in batch.halves()]
        return halves[0] + halves[1]

    started = time.perf_counter()
    for batch, found in workers.map(search, missing):
        for number, group in zip(batch.numbers, found, strict=True):
            hypotheses[number] = group
        done.append(
            {
                "numbers": batch.numbers,
                "hypotheses": [[asdict(one) for one in group] for group in found],
            }
        )
        progress.add(len(batch.numbers))
    progress.close()
    return Found(hypotheses, time.perf_counter() - started, progress.total)


def _hypothesis(fields: dict[str, Any]) -> Hypothesis:
    listed: Any = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Hypothesis(**listed)


class _Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        from tqdm import tqdm

        self.total = total
        self._bar = tqdm(
            total=total, desc=name, unit=" sentences", leave=False, disable=not sys.stderr.isatty()
        )

    def add(self, count: int) -> None:
        with self._bar.get_lock():
            self._bar.update(count)

    def close(self) -> None:
        self._bar.close()
