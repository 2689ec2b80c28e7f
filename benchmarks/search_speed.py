"""Beam search on a GPU against `generate`, with identical weights: `benchmarks.gpu`."""

import argparse
import statistics

from benchmarks.beam_search import BEAM, SENTENCES, build, generate, ours, seconds
from benchmarks.results import Row
from benchmarks.seq2seq import CASES, captions

_ROUNDS = 3
_TINY = 64


def small(arguments: argparse.Namespace) -> list[Row]:
    """4 + 4 layers of 128."""
    return _rows("transformer_128", arguments)


def wide(arguments: argparse.Namespace) -> list[Row]:
    """6 + 6 layers of 512."""
    return _rows("transformer_512", arguments)


def _rows(name: str, arguments: argparse.Namespace) -> list[Row]:
    case, model = CASES[name], build(CASES[name])
    sentences = _TINY if arguments.tiny else 4 * SENTENCES
    source = captions(sentences).source
    device = "cuda" if arguments.accelerator == "gpu" else "cpu"
    runs = {"ours": ours(model, source, 2048, "float32", accelerator=arguments.accelerator)}
    sizes = (16,) if arguments.tiny else (256, 1024)
    runs |= {
        f"generate, batches of {rows}": generate(model, source, case, device=device, rows=rows)
        for rows in sizes
    }
    taken: dict[str, list[float]] = {each: [] for each in runs}
    ids = {}
    for turn in range(_ROUNDS + 1):
        for each, run in runs.items():
            took, ids[each] = seconds(run)
            if turn:  # the first one sets up kernels
                taken[each].append(took)
    speeds = {each: sentences / statistics.median(found) for each, found in taken.items()}
    peer = max(list(runs)[1:], key=lambda each: speeds[each])
    same = sum(one == other for one, other in zip(ids["ours"], ids[peer], strict=True))
    mine, its = speeds["ours"], speeds[peer]
    title = f"beam {BEAM}, {name.replace('_', ' ')}"
    return [
        Row(title, "sent/s", mine, peer, its, mine / its, 5.0),
        Row(f"{title}, ids", "share", same / sentences, peer, 1.0, same / sentences, 1.0),
    ]
