"""A model on each device, or on each core of a CPU, and work shared out among them.

Cores work in processes of their own: threads of one would wait for each other's Python a tenth of
their time.
"""

import copy
import gc
import multiprocessing
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from pipelines.frame.errors import DataError, MasklineError, broken_rule
from pipelines.frame.hardware import Hardware
from pipelines.frame.memory import keep_freed_memory
from pipelines.frame.processes import die_with_parent
from pipelines.nn.cpu.linear import Precision

_GPU_ROOM = 16  # with less, a GPU waits for Python: benchmarks/README.md

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A model on each GPU, or as many processes of a CPU as it has threads to give.

    Args:
        model: the network, an `nn.Module`; it is computed with, or copies of it.
        hardware: how many of what.
        precision: of the products.

    Raises:
        DataError: int8 is asked of a GPU.
    """

    def __init__(self, model: Any, hardware: Hardware, precision: Precision = "float32") -> None:
        torch.backends.cudnn.allow_tf32 = (
            False  # a GRU's scores would differ from their teacher-forced ones
        )
        self._on_cpu = hardware.accelerator == "cpu" or not torch.cuda.is_available()
        if precision == "int8" and not self._on_cpu:
            rule, remedy = "be float32 or bfloat16 on a GPU", "change it"
            raise DataError(
                broken_rule("params.yaml", "decoding.precision", precision, rule, remedy)
            )
        if self._on_cpu:
            torch.set_num_threads(1)
            keep_freed_memory()
            self._devices = [torch.device("cpu")] * hardware.num_threads
            self._copies = [model if precision == "float32" else copy.deepcopy(model)]
        else:
            self._devices = [torch.device("cuda", number) for number in range(hardware.devices)]
            self._copies = [copy.deepcopy(model).to(device) for device in self._devices]
        for one in self._copies:
            one.prepare(precision)

    def room(self, tokens: int, budget: int) -> int:
        """Source tokens of a batch: ``budget``; several times as many on GPUs, as long as there are
        two batches for each.
        """
        if self._on_cpu:
            return budget
        each = tokens // (2 * len(self._devices))
        return max(budget, min(_GPU_ROOM * budget, each))

    @property
    def at_once(self) -> int:
        """Models that share a device's memory: all of a CPU, one of a GPU."""
        return len(self._devices) if self._on_cpu else 1

    def map(
        self, function: Callable[[Any, torch.device, T], R], items: Sequence[T]
    ) -> Iterator[tuple[T, R]]:
        """Each item with what ``function(model, device, item)`` returns, as they are done;
        in any order.

        An error ends it, and is raised here.

        Raises:
            MasklineError: a process was killed.
        """
        if not self._on_cpu:
            yield from self._by_threads(function, items)
        elif min(len(self._devices), len(items)) < 2 or not sys.platform.startswith("linux"):
            for item in items:
                yield item, function(self._copies[0], self._devices[0], item)
        else:
            yield from self._by_processes(
                lambda item: function(self._copies[0], self._devices[0], item), items
            )

    def _by_threads(
        self, function: Callable[[Any, torch.device, T], R], items: Sequence[T]
    ) -> Iterator[tuple[T, R]]:
        free: SimpleQueue[tuple[Any, torch.device]] = SimpleQueue()
        for pair in zip(self._copies, self._devices, strict=True):
            free.put(pair)

        def call(item: T) -> tuple[T, R]:
            model, device = free.get()
            try:
                return item, function(model, device, item)
            finally:
                free.put((model, device))

        with ThreadPoolExecutor(len(self._devices)) as pool:
            try:
                for done in as_completed([pool.submit(call, item) for item in items]):
                    yield done.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _by_processes(self, call: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, R]]:
        """Forked, as a DataLoader's are:
        they share the model's memory and nothing has to be sent but results.
        """
        context = multiprocessing.get_context("fork")
        taken = context.Value("q", 0)
        running: dict[Any, Any] = {}  # connection → process
        # A garbage collection would write to all objects, and so copy the pages shared with a
        # process.
        gc.freeze()
        try:
            for _ in range(min(len(self._devices), len(items))):
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(call, items, taken, sender), daemon=True
                )
                with warnings.catch_warnings():
                    # Python 3.12: there are threads; of W&B
                    warnings.simplefilter("ignore", DeprecationWarning)
                    process.start()
                sender.close()
                running[receiver] = process
            while running:
                for ready in wait(list(running)):
                    if (answer := _answer(ready)) is not None:
                        yield items[answer[0]], answer[1]
                        continue
                    process = running.pop(ready)
                    process.join()
                    if process.exitcode:
                        how = (
                            f"exit code {process.exitcode}; killed for its memory? lower "
                            "decoding.batch_tokens"
                        )
                        raise MasklineError(
                            f"search: a worker process must not end before its work is done ({how})"
                        )
        finally:
            for process in running.values():
                process.kill()
                process.join()
            gc.unfreeze()


def _answer(receiver: Any) -> tuple[int, Any] | None:
    """Number of an item and its result, or None at the end; an error is raised."""
    try:
        number, result, error = pickle.loads(receiver.recv_bytes())
    except EOFError:
        return None
    if error is not None:
        raise error
    return number, result


def _work(call: Callable[[T], R], items: Sequence[T], taken: Any, sender: Connection) -> None:
    """One process: items that no other has taken, until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's affair, which ends this process
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent(signal.SIGKILL)
    try:
        while True:
            with taken.get_lock():
                number = taken.value
                taken.value += 1
            if number >= len(items):
                return
            sender.send_bytes(pickle.dumps((number, call(items[number]), None)))
    except Exception as error:
        if not isinstance(error, MasklineError):
            error.add_note("".join(traceback.format_exception(error)))
        try:
            answer = pickle.dumps((0, None, error))
            pickle.loads(answer)
        except Exception:
            answer = pickle.dumps((0, None, RuntimeError(repr(error))))
        sender.send_bytes(answer)
