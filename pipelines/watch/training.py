"""What a training shows of itself: a bar, a line per point of the curves, its speed. Reads,
and decides nothing.
"""

import sys
import time
from collections import deque
from collections.abc import Mapping

import torch
from tqdm import tqdm

from pipelines.watch.speed import Cost, Speed, TimedLoader, peak

_POINTS = 10  # of the curves, for the speed now


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
            total=self._total,
            initial=self._first,
            unit=" updates",
            disable=hidden,
            leave=False,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt}, {rate_fmt}",  # lines tell what is left
        )
        self._points = deque([(time.monotonic(), self._first)], maxlen=_POINTS)

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
            end = f"{timings['tokens_per_s']:.0f} tokens/s  {self._left(update)} left"
        tqdm.write(f"update {update}/{self._total}  {values}  {end}".rstrip(), file=sys.stdout)
        sys.stdout.flush()

    def _left(self, update: int) -> str:
        """h:mm:ss, at the speed of the last points."""
        self._points.append((time.monotonic(), update))
        (began, first), (now, last) = self._points[0], self._points[-1]
        seconds = (now - began) / max(1, last - first) * (self._total - update)
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"

    def warn(self, message: str) -> None:
        """Print a warning beside the bar."""
        tqdm.write(f"warning: {message}", file=sys.stderr)

    def close(self) -> None:
        """Leave a clean terminal."""
        self._bar.close()
