"""Freed memory is kept by the process: after some use a large tensor faults in no new pages."""

import subprocess
import sys

_PROGRAM = """
import resource, sys
import torch
from pipelines.frame.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 << 18)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# An aligned block does not always fit where one just like it was: a few places are made first.
for _ in range(20):
    faults()
print(faults())
"""


def _faults(mode: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, mode], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


def test_a_large_tensor_uses_the_memory_of_those_before_it():
    assert _faults("kept") < 100 < _faults("as_it_is")


_RELEASE = """
import torch
from pipelines.frame.memory import keep_freed_memory, release_freed_memory
def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
keep_freed_memory()
tensors = [torch.ones(1 << 20) for _ in range(100)]  # 400 MiB
del tensors
before = resident_mib()
release_freed_memory()
print(before - resident_mib())
"""


def test_released_memory_leaves_the_process():
    run = subprocess.run(
        [sys.executable, "-c", _RELEASE], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) > 300
