"""BERT-base pretraining on one CUDA device: real tokens per second, and their share of the device's
peak.

    python -m benchmarks.gpu              BERT-base, rows of 128 and of 512, bf16
    python -m benchmarks.gpu --compile    the same with compiled blocks
    python -m benchmarks.gpu --accelerator cpu --size tiny --steps 2 --rows 4    that it works

Needs torch, lightning, pydantic, ruamel.yaml, numpy and tqdm; neither Prefect nor DVC nor W&B. Rows
hold one pair cut to 128 tokens, with dropout 0.1, or are packed to 512, without dropout; padding
does not count. The peak is the data sheet's for dense bf16 products on an H100 or H200; give
another device's with ``--peak-tflops``.
"""

import argparse
import logging
import statistics
import sys
import warnings

import torch

from benchmarks.pretraining import SIZES, documents, mean_cost, our_steps, section
from benchmarks.results import Row, write
from pipelines.bert.data import DocumentSplit, PretrainingBatches

_GOAL = 0.75e6  # real tokens per second of BERT-base on one H200
_GOAL_MFU = 0.41
_VOCAB = 30528  # 30,522 padded to a multiple of 64


def row(arguments: argparse.Namespace, length: int, rows: int) -> list[Row]:
    """One length of rows: tokens per second against the goal, operations per second against the
    peak.
    """
    packed = length > 128
    params = section(
        arguments.size,
        "bf16-mixed",
        packed=packed,
        max_length=length,
        max_predictions=-(-length * 15 // 100),
        batch_size=rows,
        dropout=0.0 if packed else 0.1,
    )
    shard = documents(_VOCAB, sentences=40, words=(8, 40))
    batches = PretrainingBatches(DocumentSplit(shard, 1, "bench", 0.15, _VOCAB), params)
    seconds = statistics.median(
        our_steps(
            params,
            batches,
            arguments.steps,
            accelerator=arguments.accelerator,
            workers=arguments.workers,
            compiled=arguments.compile,
        )
    )
    tokens, flops, _ = mean_cost(params, batches, arguments.steps)
    case = f"{arguments.size}, {rows} rows of {length}"
    speed = tokens / seconds
    peak = arguments.peak_tflops
    rate = flops / seconds / 1e12
    useful = Row(f"{case}, useful", "TF/s", rate, "peak", peak, rate / peak, _GOAL_MFU)
    if arguments.size != "base":
        return [Row(case, "tok/s", speed, "none", 0.0, 0.0, 0.0), useful]
    return [Row(case, "tok/s", speed, "goal", _GOAL, speed / _GOAL, 1.0), useful]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument(
        "--rows", type=int, default=512, help="rows of 128; a quarter as many of 512"
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=4, help="loader processes")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--accelerator", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--peak-tflops", type=float, default=989.5)
    arguments = parser.parse_args()
    if arguments.accelerator == "gpu" and not torch.cuda.is_available():
        print(
            "error: no CUDA device found; run this where there is one, or with --accelerator cpu",
            file=sys.stderr,
        )
        return 2
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    cases = ((128, arguments.rows), (512, max(1, arguments.rows // 4)))
    write("gpu", [found for length, rows in cases for found in row(arguments, length, rows)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
