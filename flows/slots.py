"""How much of the machine is free: stages wait here until they fit."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from flows.graph import Node
from pipelines.frame.hardware import visible_gpus


class MachineSlots:
    """Processors and GPUs of one machine, shared by the stages that run at once.

    Args:
        cpus: their number.
        gpus: their names, or how many there are.
    """

    def __init__(self, cpus: int, gpus: int | Sequence[str]) -> None:
        names = [str(number) for number in range(gpus)] if isinstance(gpus, int) else list(gpus)
        self._cpus, self._gpus = cpus, len(names)
        self._free_cpus, self._free_gpus, self._order = cpus, names, tuple(names).index
        self._changed = threading.Condition()

    @classmethod
    def of_this_machine(cls, accelerator: str) -> "MachineSlots":
        """All processors this process may use, and its NVIDIA devices unless
        ``hardware.accelerator`` is cpu.
        """
        if hasattr(os, "sched_getaffinity"):
            cpus = len(os.sched_getaffinity(0))
        else:
            cpus = os.cpu_count() or 1
        return cls(cpus, 0 if accelerator == "cpu" else visible_gpus())

    def wanted(self, node: Node) -> tuple[int, int]:
        """Processors and GPUs a stage takes, at most the whole machine.

        A training without a GPU takes every processor: two at once on two cores are slower than one
            after the other.
        """
        gpus = min(node.gpus, self._gpus)
        return (self._cpus if node.alone and not gpus else min(node.cpus, self._cpus)), gpus

    def fits(self, node: Node) -> bool:
        """Whether there is room for a stage now."""
        cpus, gpus = self.wanted(node)
        with self._changed:
            return cpus <= self._free_cpus and gpus <= len(self._free_gpus)

    @contextlib.contextmanager
    def taken(
        self, node: Node, waits: Callable[[], None] = lambda: None
    ) -> Iterator[dict[str, str]]:
        """Wait until the stage fits, and keep its share until the block ends.

        Args:
            node: the stage.
            waits: called once if it does not fit at once.

        Yields:
            Environment variables that show the stage its GPUs and no others.
        """
        cpus, gpus = self.wanted(node)
        if not self.fits(node):
            waits()
        with self._changed:
            self._changed.wait_for(lambda: cpus <= self._free_cpus and gpus <= len(self._free_gpus))
            self._free_cpus -= cpus
            devices, self._free_gpus = self._free_gpus[:gpus], self._free_gpus[gpus:]
        try:
            yield {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}
        finally:
            with self._changed:
                self._free_cpus += cpus
                self._free_gpus = sorted(self._free_gpus + devices, key=self._order)
                self._changed.notify_all()
