"""How often the warning of divergence is right (``python -m benchmarks.forecast``, 20 minutes).

Small trainings with a learning rate that rises, over a grid of optimizers, rates, warm-ups and
seeds: those of BERT chose the rule (`pipelines/watch/forecast.py`), those of a Transformer and a
GRU with other seeds try it. No clipping. The data of this checkout's shards must be there.
"""

import itertools
import logging
import multiprocessing
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import torch

from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.records import Records
from pipelines.frame.trials import declared, set_up
from pipelines.training.positions import Batches, Position
from pipelines.training.trainer import make_loader, make_trainer
from pipelines.watch.learning import Learning

_UPDATES, _WARM_UPS = 400, (200, 320)
_AHEAD, _AFTER = 20, 100  # updates
_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "weight_decay": 0.0},
    "momentum": {"name": "momentum", "momentum": 0.9, "weight_decay": 0.0},
    **{
        f"adamw {beta}": {
            "name": "adamw", "beta1": 0.9, "beta2": beta, "epsilon": 1e-8,
            "bias_correction": True, "weight_decay": 0.01,
        }
        for beta in (0.98, 0.999)
    },
}  # fmt: skip
_CHOOSE: dict[str, dict[str, list[Any]]] = {"bert": {
    "momentum": [0.1, 0.2, 0.3, 0.5, 0.8, 1.2], "sgd": [1, 2, 4, 8, 12],
    "adamw 0.98": [0.003, 0.01, 0.02, 0.04, 0.08], "adamw 0.999": [0.003, 0.01, 0.03, 0.08],
}}  # fmt: skip
_TRY: dict[str, dict[str, list[Any]]] = {
    "transformer": {
        "momentum": [0.1, 0.3, 0.6, 1.0, 2.0], "sgd": [1, 3, 6, 12],
        "adamw 0.98": [0.003, 0.01, 0.03, 0.08],
    },
    "gru": {"momentum": [0.3, 1, 3], "adamw 0.98": [0.01, 0.05]},
}  # fmt: skip


class Run(NamedTuple):
    """One training."""

    model: str
    optimizer: str
    rate: float
    warm_up: int
    seed: int


class Seen(NamedTuple):
    """When it diverged and when that was foreseen; 0 for never."""

    run: Run
    diverged: int
    flagged: int


def main() -> None:
    """Train all, and print a table."""
    for title, grid, seeds in (
        ("chose the rule", _CHOOSE, (1, 2)),
        ("tried it", _TRY, (11, 12, 13)),
    ):
        runs = list(_runs(grid, seeds))
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            seen = list(pool.imap_unordered(watch, runs))
        late = [one for one in seen if one.diverged > _AFTER]
        ahead = [one for one in late if 0 < one.flagged <= one.diverged - _AHEAD]
        at_all = [one for one in late if 0 < one.flagged <= one.diverged]
        fine = [one for one in seen if not one.diverged]
        falsely = [one for one in fine if one.flagged]
        print(
            f"{', '.join(grid)} ({title}): {len(seen)} trainings, {len(late)} diverged after "
            f"update {_AFTER}, {len(ahead)} of them flagged {_AHEAD} updates ahead, "
            f"{len(at_all)} at all before; of {len(fine)} others {len(falsely)} flagged"
        )


def _runs(grid: dict[str, dict[str, list[Any]]], seeds: Sequence[int]) -> Iterator[Run]:
    for model, optimizers in grid.items():
        for (name, rates), warm_up, seed in itertools.product(optimizers.items(), _WARM_UPS, seeds):
            yield from (Run(model, name, float(rate), warm_up, seed) for rate in rates)


class _Stop(lightning.Callback):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step % 20 == 0 and pl_module.not_finite_since >= 0


def watch(run: Run) -> Seen:
    """Train one and look at it."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    params_file = read_params()
    _lay(params_file.root, run)
    item = None if run.model == "bert" else run.model
    stage = declared(params_file, "seq2seq" if item else "bert", item)
    hardware = validate(params_file, "hardware", Hardware)
    with tempfile.TemporaryDirectory() as folder:
        module, source, at_work = set_up(params_file, stage, hardware, Path(folder))
        records = Records(Path(folder) / "learning.jsonl")
        module.learning = Learning(
            records, "full", 0, lambda _: None, adaptive=run.optimizer.startswith("adam")
        )
        trainer = make_trainer(at_work, [_Stop()], _UPDATES)
        trainer.fit(module, make_loader(Batches(source, Position(0, 0, 0), _UPDATES), hardware))
        module.learning.flush()
        losses = [float(record["loss"]) for record in records.read()]
    return Seen(run, _diverged(losses), module.learning.forecast.flagged)


def _diverged(losses: Sequence[float]) -> int:
    """The update after which the median of ten losses exceeds twice the first, or one is not
    finite.
    """
    for number, loss in enumerate(losses, start=1):
        if not abs(loss) < float("inf"):
            return number
        if number >= 10 and statistics.median(losses[number - 10 : number]) > 2 * losses[0]:
            return number
    return 0


def _lay(root: Any, run: Run) -> None:
    root["seed"] = run.seed
    root["hardware"].update(accelerator="cpu", num_threads=1, num_workers=0, watch="off")
    optimization = {
        "optimizer": _OPTIMIZERS[run.optimizer],
        "schedule": {"name": "constant", "warmup_updates": run.warm_up},
        "gradient_clip": "none",
        "log_every": 10**6,
        "validate_every": 10**6,
    }
    sizes = {"width": 64, "num_heads": 2, "feed_forward_width": 128}
    if run.model == "bert":
        root["bert"]["training"].update(**optimization, learning_rate=run.rate)
        root["bert"]["model"].update(sizes)
        root["bert"]["phases"][0].update(
            updates=_UPDATES, batch_size=8, max_length=48, max_predictions=12
        )
        return
    root["seq2seq"]["common"].update(**optimization, updates=_UPDATES, batch_size=16, bleu_pairs=0)
    block = root["seq2seq"]["architectures"][run.model]
    block.update({key: size for key, size in sizes.items() if key in block})
    block["learning_rate"] = run.rate


if __name__ == "__main__":
    main()
