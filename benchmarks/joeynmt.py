"""Fine-tuning against JoeyNMT 2.3: target tokens per second of the small Transformer, on this
machine.

    python3 -m venv /tmp/joey
    /tmp/joey/bin/pip install torch==2.13.0 joeynmt==2.3.0 sentencepiece==0.2.0 \
        'setuptools<81' importlib_metadata
    python -m benchmarks.joeynmt --python /tmp/joey/bin/python

It gets an environment of its own, for it needs older libraries. Both sides train the network
`transformer_128` of `benchmarks.seq2seq` on the same random pairs in batches of 4,096 tokens,
padding included: JoeyNMT's are random, ours are of like lengths; it knows no bf16 on a CPU. What it
logs counts real target tokens a second, as we do.
"""

import argparse
import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import Row, write
from benchmarks.seq2seq import CASES, VOCAB, captions, speed_of_ours
from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.frame.memory import keep_freed_memory

_CASE, _WARM, _STEPS = CASES["transformer_128"], 20, 20


def write_text(shard: PairShard, folder: Path) -> None:
    """The pairs as lines of words, one word a token, and the vocabulary."""

    def lines(side: Ragged) -> str:
        return "".join(
            " ".join(f"w{token}" for token in side[row]) + "\n" for row in range(len(side))
        )

    (folder / "train.src").write_text(lines(shard.source), encoding="utf-8")
    (folder / "train.trg").write_text(lines(shard.target), encoding="utf-8")
    words = [f"w{token}\n" for token in range(5, VOCAB)]
    (folder / "vocab.txt").write_text(
        "".join(["<unk>\n", "<pad>\n", "<s>\n", "</s>\n", *words]), encoding="utf-8"
    )


def configuration(folder: Path) -> dict[str, Any]:
    """What JoeyNMT reads; nothing is validated or saved within the measured updates."""
    sizes = _CASE.sizes
    side = {
        "type": "transformer",
        "num_layers": sizes["layers"],
        "num_heads": sizes["heads"],
        "embeddings": {"embedding_dim": sizes["width"], "scale": True},
        "hidden_size": sizes["width"],
        "ff_size": sizes["feed_forward_width"],
        "dropout": 0.1,
        "layer_norm": "post",
    }
    language = {"level": "word", "voc_file": str(folder / "vocab.txt"), "max_length": 100}
    return {
        "name": "benchmark",
        "model_dir": str(folder / "model"),
        "use_cuda": False,
        "data": {
            "train": str(folder / "train"),
            "dev": str(folder / "train"),
            "dataset_type": "plain",
            "src": {"lang": "src", **language},
            "trg": {"lang": "trg", **language},
        },
        "training": {
            "scheduling": "warmupinversesquareroot",
            "optimizer": "adamw",
            "learning_rate": 1e-4,
            "clip_grad_norm": 1.0,
            "label_smoothing": 0.1,
            "batch_size": _CASE.tokens,
            "batch_type": "token",
            "normalization": "tokens",
            "updates": _WARM + _STEPS,
            "logging_freq": _STEPS,
            "validation_freq": 1000 * _STEPS,
            "epochs": 10,
            "overwrite": True,
        },
        "testing": {"eval_metrics": []},
        "model": {"tied_embeddings": True, "tied_softmax": True, "encoder": side, "decoder": side},
    }


def their_speed(python: Path) -> float:
    """Target tokens a second of JoeyNMT, after `_WARM` updates.

    Raises:
        RuntimeError: its log has no such number.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(captions(), folder)
        # JSON is YAML
        (folder / "config.yaml").write_text(json.dumps(configuration(folder)), encoding="utf-8")
        command = [
            str(python),
            "-m",
            "joeynmt",
            "train",
            str(folder / "config.yaml"),
            "--skip-test",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        speeds = re.findall(r"Tokens per Sec:\s+(\d+)", done.stdout + done.stderr)
    if len(speeds) < (_WARM + _STEPS) // _STEPS:
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return float(speeds[-1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", type=Path, required=True, help="of the environment with JoeyNMT"
    )
    parser.add_argument("--rounds", type=int, default=3, help="ours and theirs alternate")
    arguments = parser.parse_args()
    keep_freed_memory()
    speeds: dict[str, list[float]] = {"JoeyNMT": [], "32-true": [], "bf16-mixed": []}
    for _ in range(arguments.rounds):
        speeds["JoeyNMT"].append(their_speed(arguments.python))
        for precision in ("32-true", "bf16-mixed"):
            speeds[precision].append(speed_of_ours(_CASE, precision))
    theirs = statistics.median(speeds.pop("JoeyNMT"))
    rows = []
    for precision, found in speeds.items():
        ours = statistics.median(found)
        rows.append(
            Row(
                f"transformer_128, {precision}",
                "tok/s",
                ours,
                "JoeyNMT, fp32",
                theirs,
                ours / theirs,
                10.0,
            )
        )
    write("joeynmt", rows)


if __name__ == "__main__":
    main()
