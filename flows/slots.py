"""How much of the machine is free: stages wait here until they fit."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from flows.graph import Node


class Slots:
    """Processors and GPUs of one machine, shared by the stages that run at once."""

    def __init__(self, cpus: int, gpus: int) -> None:
        self._total = self._free = (cpus, gpus)
        self._changed = threading.Condition()

    @classmethod
    def of_this_machine(cls) -> "Slots":
        """All processors this process may use, and every NVIDIA device."""
        return cls(len(os.sched_getaffinity(0)), len(list(Path("/dev").glob("nvidia[0-9]*"))))

    def wanted(self, node: Node) -> tuple[int, int]:
        """What a stage takes, at most the whole machine.

        Where there is no GPU, a stage that would use one computes on the processors, and gets all of them: two
        trainings at once on two cores are slower than one after the other.
        """
        cpus, gpus = self._total
        if node.gpus and not gpus:
            return cpus, 0
        return min(node.cpus, cpus), min(node.gpus, gpus)

    @contextlib.contextmanager
    def taken(self, node: Node) -> Iterator[None]:
        """Wait until the stage fits, and keep its share until the block ends."""
        cpus, gpus = self.wanted(node)
        with self._changed:
            self._changed.wait_for(lambda: cpus <= self._free[0] and gpus <= self._free[1])
            self._free = (self._free[0] - cpus, self._free[1] - gpus)
        try:
            yield
        finally:
            with self._changed:
                self._free = (self._free[0] + cpus, self._free[1] + gpus)
                self._changed.notify_all()
