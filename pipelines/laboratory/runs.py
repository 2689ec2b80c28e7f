"""One training of the comparison: one optimizer, one learning rate, one seed, its share of rows."""

import logging
import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import torch

from pipelines.formats.randomness import stream_seed
from pipelines.frame.files import write_whole
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import ParamsFile, read_params, validate
from pipelines.frame.trials import Training, declared, set_up
from pipelines.laboratory.contestants import CONTESTANTS
from pipelines.training.positions import Batches, Position
from pipelines.training.trainer import make_loader, make_trainer

POINTS = 12  # of the curve of a training
MINI = {"bert": 32, "transformer": 32}


class Job(NamedTuple):
    """What is trained.

    Attributes:
        model: bert or transformer.
        contestant: of `CONTESTANTS`.
        rate: learning rate at its peak.
        seed: of weights, data and masks.
        rows: that it may see.
        pool: that are there; ``full`` takes all of them at once.
    """

    model: str
    contestant: str
    rate: float
    seed: int
    rows: int
    pool: int

    @property
    def batch(self) -> int:
        """Rows of an update."""
        batch = CONTESTANTS[self.contestant].batch
        return {"mini": MINI[self.model], "full": self.pool}.get(str(batch)) or int(batch)

    @property
    def updates(self) -> int:
        """Of the whole training."""
        return max(1, self.rows // self.batch)

    def path(self, folder: Path) -> Path:
        """Where its result stands, once it is there."""
        name = f"{self.model}-{self.contestant}-{self.rate:.3g}-{self.seed}".replace(" ", "_")
        return folder / f"{name}.json"


class Pool:
    """The first rows of an epoch again and again, whatever the batch."""

    def __init__(self, source: Any, rows: int) -> None:
        self._source, self._rows = source, rows
        self.fingerprint = source.fingerprint

    def after(self, position: Position) -> Position:
        """The next position, or the first one where the rows are at their end."""
        following = self._source.after(position)
        outside = following.samples >= self._rows or following.epoch
        return Position(following.update, 0, 0) if outside else following

    def __call__(self, position: Position) -> Any:
        """The batch at a position."""
        return self._source(position)


class _Curve(lightning.Callback):
    """Loss, update, rows and seconds at a few points; stops what is no longer finite."""

    def __init__(self, job: Job, every: int) -> None:
        self._job, self._every = job, every
        self.points: list[dict[str, float]] = []
        self._trained_s = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._add(pl_module, 0)
        self._clock = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        update = trainer.global_step
        if update % self._every and update < self._job.updates:
            return
        self._trained_s += time.perf_counter() - self._clock
        loss = self._add(pl_module, update)
        if not math.isfinite(loss) or loss > 3 * self.points[0]["loss"]:
            trainer.should_stop = True
        self._clock = time.perf_counter()

    def _add(self, module: Any, update: int) -> float:
        measured = module.validate()
        loss = sum(measured[f"valid_{name}"] for name in module.objectives)
        self.points.append(
            {
                "update": update,
                "rows": update * self._job.batch,
                "seconds": self._trained_s,
                "loss": loss,
            }
        )
        return loss


def train(job: Job, folder: Path) -> dict[str, Any]:
    """Run it, unless its result is there already; the result.

    ``loss`` is that of held-out rows after the last update; infinite where the training diverged.
    """
    path = job.path(folder)
    torch.set_num_threads(1)
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        training = set_up_small(job, Path(temporary))
        module, source, run = training
        curve = _Curve(job, max(1, job.updates // POINTS))
        batches = Batches(Pool(source, job.pool), Position(0, 0, 0), job.updates)
        trainer = make_trainer(run, [curve], job.updates)
        trainer.fit(module, make_loader(batches, run.hardware))
    last = curve.points[-1]
    ended = last["update"] == job.updates and math.isfinite(last["loss"])
    result = {
        **job._asdict(),
        "batch": job.batch,
        "updates": job.updates,
        "loss": last["loss"] if ended else math.inf,
        "seconds": last["seconds"],
        "points": curve.points,
    }
    write_whole(path, result)
    return result


def set_up_small(job: Job, folder: Path) -> Training:
    """The small model of a job, on the data of this checkout, not yet trained."""
    params_file = read_params()
    _shrink(params_file, job)
    hardware = validate(params_file, "hardware", Hardware)
    item = None if job.model == "bert" else job.model
    stage = declared(params_file, "bert" if item is None else "seq2seq", item)
    training = set_up(params_file, stage, hardware, folder)
    module = training.module
    held = module.validation_batches
    module.validation_batches = [held[number] for number in range(min(2, len(held)))]
    return training


def _shrink(params_file: ParamsFile, job: Job) -> None:
    """The small models, in params that nobody keeps: no clipping, no averaging, one schedule."""
    root = params_file.root
    root["seed"] = stream_seed(job.seed, "optimizers") % 2**31
    root["hardware"].update(
        accelerator="cpu", devices=1, num_nodes=1, strategy="auto", num_threads=1,
        num_workers=0, compile=False, watch="off",
        micro_batch_size=0 if job.batch <= 256 else 64,
    )  # fmt: skip
    optimization = {
        "optimizer": dict(CONTESTANTS[job.contestant].optimizer),
        "schedule": {"name": "linear", "warmup_updates": job.updates // 10, "final_factor": 0.0},
        "gradient_clip": "none",
        "precision": "32-true",
        "select": "last",
        "average": 1,
        "patience": "none",
        "validate_every": 10**6,
        "log_every": 10**6,
        "snapshots": [],
    }
    if job.model == "bert":
        root["bert"]["starts_from"] = "data/shards"
        root["bert"]["training"].update(**optimization, learning_rate=job.rate)
        root["bert"]["model"].update(
            width=64, num_heads=2, feed_forward_width=128, dropout=0.0, attention_dropout=0.0
        )
        root["bert"]["phases"] = [
            {
                "updates": job.updates,
                "batch_size": job.batch,
                "ramp": "none",
                "max_length": 48,
                "max_predictions": 12,
            }
        ]
        return
    root["seq2seq"]["common"].update(
        **optimization, updates=job.updates, batch_size=job.batch, batch_unit="pairs", bleu_pairs=0
    )
    root["seq2seq"]["architectures"][job.model].update(
        width=64, num_heads=2, feed_forward_width=128, dropout=0.0, learning_rate=job.rate
    )
