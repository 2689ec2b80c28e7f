"""Energy by counters of a machine that stands in for one: sums, counters that start again, none."""

import sys
import types
from pathlib import Path

import pytest

from pipelines.frame.energy import EnergyMeter


def _zone(folder: Path, number: str, name: str, joules: float, span: float = 1000.0) -> Path:
    zone = folder / f"intel-rapl:{number}"
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"{name}\n")
    (zone / "max_energy_range_uj").write_text(f"{span * 1e6:.0f}\n")
    return _set(zone, joules)


def _set(zone: Path, joules: float) -> Path:
    (zone / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
    return zone


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_sockets_and_their_memory_are_summed_and_start_again(tmp_path):
    sockets = [_zone(tmp_path, "0", "package-0", 10), _zone(tmp_path, "1", "package-1", 990)]
    memory = _zone(tmp_path, "0:1", "dram", 5)
    parts = [_zone(tmp_path, "0:0", "core", 1), _zone(tmp_path, "2", "psys", 1)]
    meter = EnergyMeter(tmp_path)
    meter.start()
    for zone in parts:
        _set(zone, 500)
    _set(sockets[0], 30)
    _set(sockets[1], 10)  # it has started again
    meter._add()
    _set(memory, 6)
    assert meter.joules() == pytest.approx(20 + 20 + 1)


def test_counters_that_nobody_may_read_are_none(tmp_path):
    assert EnergyMeter(tmp_path / "nothing").joules() is None
    zone = _zone(tmp_path, "0", "package-0", 1)
    (zone / "energy_uj").unlink()
    meter = EnergyMeter(tmp_path)
    meter.start()
    assert meter.joules() is None


def test_a_counter_that_is_gone_at_the_end_measures_nothing(tmp_path):
    zone = _zone(tmp_path, "0", "package-0", 1)
    meter = EnergyMeter(tmp_path)
    meter.start()
    _set(zone, 4)
    meter._add()
    (zone / "energy_uj").unlink()
    assert meter.joules() is None


def test_gpus_that_may_be_used_are_counted(tmp_path, monkeypatch):
    used = {0: 1000.0, 1: 7000.0, "GPU-a": 2000.0}
    library = types.ModuleType("pynvml")
    library.nvmlInit = lambda: None
    library.nvmlDeviceGetHandleByIndex = lambda index: index
    library.nvmlDeviceGetHandleByUUID = lambda name: name
    library.nvmlDeviceGetTotalEnergyConsumption = lambda handle: used[handle]
    monkeypatch.setitem(sys.modules, "pynvml", library)
    for visible, joules in (("0", 1.0), ("0,GPU-a", 2.0), ("5", None)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        meter = EnergyMeter(tmp_path)
        meter.start()
        for name in used:
            used[name] += 1000
        assert meter.joules() == (None if joules is None else pytest.approx(joules))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    meter = EnergyMeter(tmp_path)
    meter.start()
    used[0] = -5000.0  # its driver was loaded anew
    assert meter.joules() == 0.0

    def gone(handle):
        raise RuntimeError("NVMLError")

    meter = EnergyMeter(tmp_path)
    meter.start()
    library.nvmlDeviceGetTotalEnergyConsumption = gone
    assert meter.joules() is None
