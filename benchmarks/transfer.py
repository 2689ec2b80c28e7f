r"""What pretraining gives, by number of training pairs: BLEU of pretrained starts beside the same
network from scratch.

    python -m benchmarks.transfer    embedded corpus, 3 seeds, 100 to 2,000 pairs (half an hour)
    python -m benchmarks.transfer --seeds 1 --pairs 100 600
    python -m benchmarks.transfer --recipes multi30k multi30k_parts --seeds 1 \
        --pairs 1000 5000 29000 --updates 400 800 1200

Runs in a throw-away copy of the checkout. BERT is trained once per seed; every architecture but
``rnd2rnd`` that is built like it is held against it, by beam search on the test set. ``--picture
FILE`` draws the means over seeds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.checkout import copy_checkout
from benchmarks.results import Row, write

_BASELINE, _EMBEDDED = "rnd2rnd", "data/raw/embedded"


def _apply(folder: Path, *recipes: str) -> None:
    command = [sys.executable, "-m", "pipelines.params", "apply", *recipes]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _overlay(folder: Path, overlay: dict[str, Any]) -> None:
    (folder / "overlay.yaml").write_text(json.dumps(overlay), encoding="utf-8")  # JSON is YAML
    _apply(folder, "overlay.yaml")


def _params(folder: Path) -> dict[str, Any]:
    from pipelines.frame.params_reader import plain, read_params

    params: dict[str, Any] = plain(read_params(folder / "params.yaml").root)
    return params


def scores(
    folder: Path, recipes: list[str], seed: int, pairs: dict[int, int | None]
) -> dict[int, dict[str, float]]:
    """BLEU (beam) of each architecture, by number of training pairs; ``pairs`` maps it to updates,
    None for params'.
    """
    copy_checkout(folder)
    if recipes:
        _apply(folder, *(f"recipes/{name}.yaml" for name in recipes))
    architectures = _params(folder)["seq2seq"]["architectures"]
    others = {name: None for name, block in architectures.items() if block["family"] != "bert2bert"}
    overlay = {
        "seed": seed,
        "seq2seq": {"architectures": others},
        "ensembles": dict.fromkeys(_params(folder)["ensembles"]),
        "evaluation": {"comparisons": []},
        "hardware": {"num_threads": len(os.sched_getaffinity(0))},
    }
    if _params(folder)["corpus"]["raw"] == _EMBEDDED:
        overlay["corpus"] = {"reader": {"num_training_pairs": max(pairs)}}
    _overlay(folder, overlay)
    found = {}
    for count, updates in pairs.items():
        common = {"training_pairs": count, **({"updates": updates} if updates else {})}
        _overlay(folder, {"seq2seq": {"common": common}})
        subprocess.run(["dvc", "repro", "evaluation"], cwd=folder, check=True)
        measured = json.loads((folder / "data/evaluation/metrics.json").read_text(encoding="utf-8"))
        table = measured["evaluation"]["architectures"]
        found[count] = {name: table[name]["beam"]["bleu"] for name in table}
        print(f"seed {seed}, {count} pairs: {found[count]}", flush=True)
    return found


def draw(by_seed: dict[int, dict[int, dict[str, float]]], path: Path) -> None:
    """Means over seeds as lines, the range between seeds as bands."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "maskline"
    pairs = sorted(next(iter(by_seed.values())))
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in next(iter(by_seed.values()))[pairs[0]]:
        values = [[found[count][name] for found in by_seed.values()] for count in pairs]
        (line,) = axes.plot(
            pairs, [statistics.mean(part) for part in values], marker="o", label=name
        )
        lowest, highest = ([pick(part) for part in values] for pick in (min, max))
        axes.fill_between(pairs, lowest, highest, alpha=0.2, color=line.get_color())
    axes.set(xscale="log", xlabel="training pairs", ylabel="BLEU, beam search")
    axes.set_xticks(pairs, [f"{count:,}" for count in pairs])
    axes.minorticks_off()
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--pairs", nargs="+", type=int, default=[100, 300, 600, 2000])
    parser.add_argument("--picture", type=Path)
    parser.add_argument(
        "--updates", nargs="+", type=int, help="of each number of pairs; default: of the params"
    )
    arguments = parser.parse_args()
    updates = arguments.updates or [None] * len(arguments.pairs)
    pairs = dict(sorted(zip(arguments.pairs, updates, strict=True)))
    by_seed = {}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            by_seed[seed] = scores(Path(folder), arguments.recipes, seed, pairs)
    rows = [
        Row(f"seed {seed}, {count:,} pairs", "BLEU", bleu, f"{_BASELINE} (against {name})",
            table[_BASELINE], bleu / max(table[_BASELINE], 1e-9), 1.0)
        for seed, found in by_seed.items()
        for count, table in found.items()
        for name, bleu in table.items()
        if name != _BASELINE
    ]  # fmt: skip
    if arguments.picture:
        draw(by_seed, arguments.picture)
    write("transfer", rows)


if __name__ == "__main__":
    main()
