"""Energy that the machine's own counters measure while a stage works, where they can be read.

Of processors by RAPL, which Linux shows below ``/sys/class/powercap`` (to root alone on most
machines); of NVIDIA's GPUs, since Volta, by NVML, if ``nvidia-ml-py`` is installed. It is the whole
machine's: what else runs meanwhile is in it, and what has no counter, such as fans, is not.
"""

import contextlib
import re
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.frame.hardware import visible_gpus

_POWERCAP = Path("/sys/class/powercap")
# Sockets and their memory; "psys", the whole platform, has both in it, and cores are of a socket.
_ZONES = re.compile(r"package-\d+|dram")
_EVERY_S = 20.0  # a counter of a busy socket starts again at 0 after a quarter of an hour


class EnergyMeter:
    """Sums up counters from `start` on.

    Args:
        powercap: folder of RAPL's zones.
    """

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        self._counters = [*_of_processors(powercap), *_of_gpus()]
        self._last: list[float] = []
        self._sum, self._lock, self._end = 0.0, threading.Lock(), threading.Event()

    def start(self) -> None:
        """Begin to count, in a thread that ends with the process or with `joules`."""
        with contextlib.suppress(Exception):
            self._last = [counter() for counter, _ in self._counters]
        if self._last:
            threading.Thread(target=self._go_on, daemon=True).start()

    def _go_on(self) -> None:
        while not self._end.wait(_EVERY_S):
            with contextlib.suppress(Exception):  # told by `joules`
                self._add()

    def _add(self) -> None:
        with self._lock:
            now = [counter() for counter, _ in self._counters]
            for (_, span), before, after in zip(self._counters, self._last, now, strict=True):
                # A GPU's counter, which has no span, starts anew with its driver.
                self._sum += max(0.0, after - before + (span if after < before else 0.0))
            self._last = now

    def joules(self) -> float | None:
        """What was used since `start`; None where nothing measures it, or no longer does."""
        self._end.set()
        if not self._last:
            return None
        try:
            self._add()
        except Exception:  # NVML's are none of the system's; a stage must not fail for its meter
            return None
        return self._sum


_Counter = tuple[Callable[[], float], float]  # joules so far, and where it starts again at 0


def _of_processors(powercap: Path) -> list[_Counter]:
    found: list[_Counter] = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's too
        with contextlib.suppress(OSError, ValueError):
            if _ZONES.fullmatch((zone / "name").read_text(encoding="utf-8").strip()):
                span = _micro(zone / "max_energy_range_uj")
                _micro(zone / "energy_uj")  # whether it can be read
                found.append((lambda path=zone / "energy_uj": _micro(path), span))  # type: ignore[misc]
    return found


def _micro(path: Path) -> float:
    return int(path.read_text(encoding="utf-8")) / 1e6


def _of_gpus() -> list[_Counter]:
    """Of those this process may use."""
    if not (names := visible_gpus()):
        return []
    try:
        nvml: Any = import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # not installed, no driver: there is nothing to read
        return []
    found: list[_Counter] = []
    for name in names:
        with contextlib.suppress(Exception):  # one that has no counter
            handle = (
                nvml.nvmlDeviceGetHandleByIndex(int(name))
                if name.isdecimal()
                else nvml.nvmlDeviceGetHandleByUUID(name)
            )

            def joules(handle: Any = handle) -> float:
                return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

            joules()
            found.append((joules, 0.0))
    return found
