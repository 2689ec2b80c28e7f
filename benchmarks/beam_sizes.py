"""What a wider beam costs: sentences and target tokens per second, and bytes of a search's state,
on one device.

    python -m benchmarks.beam_sizes                                     one core of a CPU
    python -m benchmarks.beam_sizes --accelerator gpu --beams 1 2 5 10  a CUDA device

The networks and sources of `benchmarks.beam_search`, exactly 15 steps, in float32.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.beam_search import SENTENCES, STEPS, build, params
from benchmarks.results import Row, write
from benchmarks.seq2seq import CASES, captions
from pipelines.decoding.batches import batches
from pipelines.decoding.beam_search import beam_search
from pipelines.decoding.strategies import Strategy
from pipelines.frame.memory import keep_freed_memory
from pipelines.models.protocol.model import DecoderState, Seq2SeqModel


class Weighed:
    """A model, and the most bytes that its states took.

    Attributes:
        of_source: bytes of what is made once of the source.
        of_hypotheses: bytes of all else.
    """

    def __init__(self, model: Seq2SeqModel) -> None:
        self.logits = model.logits
        self.reorder = model.reorder
        self.select = model.select
        self._model = model
        self.of_source = self.of_hypotheses = 0

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """The model's; what it holds is the source's."""
        state = self._model.start(source_BS, lengths_B)
        self._source = {name for name, tensor in state.items() if tensor.numel()} - {
            "attention",
            "position",
        }
        return state

    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The model's."""
        hidden_ND, state = self._model.step_hidden(tokens_N, state)
        bytes_of = {name: tensor.nbytes for name, tensor in state.items()}
        source = sum(size for name, size in bytes_of.items() if name in self._source)
        self.of_source = max(self.of_source, source)
        self.of_hypotheses = max(self.of_hypotheses, sum(bytes_of.values()) - source)
        return hidden_ND, state


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--case", choices=[name for name in CASES if name != "lstm_512"], default="transformer_128"
    )
    parser.add_argument("--beams", nargs="+", type=int, default=[1, 2, 4, 5, 8, 16])
    parser.add_argument("--budget", type=int, default=4600, help="source tokens of a batch")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    arguments = parser.parse_args()
    device = torch.device("cuda" if arguments.accelerator == "gpu" else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()
    model = build(CASES[arguments.case]).to(device)
    model.prepare("float32")
    rows, first = [], 0.0
    for beam in arguments.beams:
        weighed = Weighed(model)
        search(weighed, beam, arguments.budget, device)
        speed = SENTENCES / _seconds(partial(search, model, beam, arguments.budget, device), device)
        first = first or speed
        case = f"{arguments.case}, beam {beam}"
        rows.append(
            Row(case, "sent/s", speed, f"beam {arguments.beams[0]}", first, speed / first, 0.0)
        )
        source, others = (size / 2**20 for size in (weighed.of_source, weighed.of_hypotheses))
        print(
            f"{case}: {speed * STEPS:.0f} target tokens/s; MiB of sources {source:.1f}, of "
            f"hypotheses {others:.1f}"
        )
    write("beam_sizes", rows)


def search(model: Any, beam: int, budget: int, device: torch.device) -> None:
    """All sources."""
    strategy = Strategy(params(budget, beam), 0, beam, 1)
    for batch in batches(captions(SENTENCES).source, budget):
        beam_search(
            model,
            batch.source_BS.to(device),
            batch.lengths_B.to(device),
            strategy.options,
            rules=strategy.rules,
        )


def _seconds(action: Callable[[], None], device: torch.device) -> float:
    """The fastest of three."""
    found = []
    for _ in range(3):
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found)


if __name__ == "__main__":
    main()
