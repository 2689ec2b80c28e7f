"""What a training shows of itself: a bar, a line per point of the curves, its speed. Reads,
and decides nothing.
"""

import sys
import time
from collections.abc import Mapping

import torch
from tqdm import tqdm

from pipelines.watch.speed import Cost, Speed, TimedLoader, peak


class Watch:
    """Watches one training; on rank 0 it also shows it.

    Args:
        loader: what batches come from.
        first: updates done before this start.
        total: updates of the whole training.
    """

    def __init__(self, loader: TimedLoader, first: int, total: int) -> None:
        self._loader, self._first, self._total = loader, first, total

    def start(
        self, device: torch.device, dtype: torch.dtype, *, world_size: int, shown: bool
    ) -> None:
        """Begin to count; ``dtype`` is what products are computed in,
        ``shown`` whether this rank prints.
        """
        could = peak(device, dtype)
        self._speed = Speed(self._loader, could.flops, world_size)
        if shown:
            print(f"mfu is of {could.flops / 1e12:.3g} TFLOP/s ({could.source})", flush=True)
        hidden = not (shown and sys.stdout.isatty())
        self._bar = tqdm(
            total=self._total, initial=self._first, unit=" updates", disable=hidden, leave=False
        )
        self._started = time.monotonic()

    def add(self, cost: Cost) -> None:
        """One more update of this rank."""
        self._speed.add(cost)
        self._bar.update()

    def read(self, device: torch.device) -> dict[str, float]:
        """`Speed.read`: the timings since the last reading; all ranks take part."""
        return self._speed.read(device)

    def pause(self) -> None:
        """Leave out what happened since the last reading: a validation."""
        self._speed.restart()

    def show(
        self, update: int, averages: Mapping[str, float], timings: Mapping[str, float] | None = None
    ) -> None:
        """Print a point of the curves, without those of single layers."""
        values = "  ".join(
            f"{name} {value:.4g}" for name, value in averages.items() if "/" not in name
        )
        end = ""
        if timings:
            done, left = update - self._first, self._total - update
            seconds_left = (time.monotonic() - self._started) / done * left
            end = f"{timings['tokens_per_s']:.0f} tokens/s  {seconds_left:.0f} s left"
        tqdm.write(f"update {update}/{self._total}  {values}  {end}".rstrip(), file=sys.stdout)
        sys.stdout.flush()

    def warn(self, message: str) -> None:
        """Print a warning beside the bar."""
        tqdm.write(f"warning: {message}", file=sys.stderr)

    def close(self) -> None:
        """Leave a clean terminal."""
        self._bar.close()
