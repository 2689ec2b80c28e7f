"""Short trainings of this project's models with params of one's own, and what is found in them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.diagnosis.examination import examine
from pipelines.diagnosis.params import Closely, Diagnosed
from pipelines.diagnosis.problem import flat, learnable
from pipelines.diagnosis.subject import Subject
from pipelines.diagnosis.verdict import verdicts
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import read_params, validate
from pipelines.frame.trials import declared, set_up
from pipelines.training.positions import Batches, Position
from pipelines.training.snapshots import FOLDER, load_snapshot, save_snapshot
from pipelines.training.trainer import make_loader, make_trainer

CLOSELY = Closely(rows=8, batches=6, eigenvalues=1, lanczos_steps=10, points=0)


def lay(node: Any, overrides: Mapping[str, Any]) -> None:
    """Dotted keys → values, laid over params."""
    for key, value in overrides.items():
        *path, last = key.split(".")
        place = node
        for part in path:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value


def trained(section: str, updates: int, overrides: Mapping[str, Any]) -> Subject:
    """A model of this checkout's data after so many updates, and its snapshot at the last one.

    Args:
        section: bert, or seq2seq.architectures.NAME.
        updates: of a training that is planned for twice as many: its rate has not come down.
        overrides: of params.yaml.
    """
    params_file = read_params()
    root = params_file.root
    length = {"bert.phases.0.updates": 2 * updates, "seq2seq.common.updates": 2 * updates}
    lay(root, {"hardware.watch": "off", **length, **overrides})
    stage, _, item = section.partition(".architectures.")
    out = Path(tempfile.mkdtemp())
    hardware = validate(params_file, "hardware", Hardware)
    training = set_up(params_file, declared(params_file, stage, item or None), hardware, out)
    module, source, run = training
    start = flat(list(learnable(module.network).values()))
    trainer = make_trainer(run, [], updates)
    trainer.fit(module, make_loader(Batches(source, Position(0, 0, 0), updates), hardware))
    save_snapshot(module.network, trainer.optimizers[0], out / FOLDER, updates)
    module.params = module.params.model_copy(update={"precision": "32-true"})
    module.network.eval()
    model = Diagnosed(
        section=section, trained="data/x", data="data/shards",
        update=updates,
    )  # fmt: skip
    return Subject(
        training, model.model_copy(update={"trained": str(out)}), start, load_snapshot(out, updates)
    )


def names(section: str, updates: int, **overrides: Any) -> list[str]:
    """What is said of such a training."""
    return [one.name for one in verdicts(found(section, updates, **overrides))]


def found(section: str, updates: int, **overrides: Any) -> dict[str, Any]:
    """What is measured of such a training; keys with __ for dots."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return examine(trained(section, updates, dotted), CLOSELY, 1)
