"""A training as params.yaml describes it, set up but not run: for its speed and its diagnosis."""

import dataclasses
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pipelines.frame.errors import ParamsError
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.stage import Stage, StageRun, trial_run

TRAININGS = {
    "bert": ("pipelines.bert.pretrain", "pretrain", ""),
    "seq2seq": ("pipelines.seq2seq.finetune", "finetune", "seq2seq.architectures"),
    "classification": ("pipelines.classification.classify", "classify", "classification.tasks"),
}


class Training(NamedTuple):
    """What trains: see `pipelines.training.trainer.train`.

    Attributes:
        module: network, losses, optimizer; the weights are those it starts from.
        source: position → batch.
        run: hardware, params and a folder of its own.
    """

    module: Any
    source: Any
    run: StageRun


class _SetUp(BaseException):
    """Ends a stage where its training would begin; nothing after that shall run."""

    def __init__(self, training: Training) -> None:
        self.training = training


def declared(params_file: ParamsFile, name: str, item: str | None) -> Stage:
    """The stage that trains.

    Args:
        params_file: params.yaml.
        name: bert, seq2seq or classification.
        item: the architecture or task.

    Raises:
        ParamsError: a section is wrong, or there is no such item.
    """
    module, _, mapping = TRAININGS[name]
    items = list(params_file.get(mapping)) if mapping else []
    if bool(items) != bool(item) or (items and item not in items):
        rule = f"must be one of {', '.join(items)}" if items else "must be left out"
        raise ParamsError(f"{name}: its item ({item}) {rule}")
    stage: Stage = import_module(module).declare(params_file, *([item] if item else []))
    return stage


def set_up(params_file: ParamsFile, stage: Stage, hardware: Hardware, folder: Path) -> Training:
    """Build a training as its stage does, up to its first update.

    Args:
        params_file: params.yaml.
        stage: of `declared`; its inputs must be there.
        hardware: it runs on.
        folder: for what it writes.

    Raises:
        ParamsError: a file or folder that it reads is missing.
    """
    if missing := [path for path in stage.inputs if not path.exists()]:
        raise ParamsError(f"{stage.instance}: {missing[0]} must be there; make run makes it")

    def trial(module: Any, source: Any, run: StageRun) -> NoReturn:
        raise _SetUp(Training(module, source, run))

    run = dataclasses.replace(trial_run(stage, params_file, hardware, folder), trial=trial)
    compute: Callable[[StageRun], Any] = getattr(
        import_module(stage.entry), TRAININGS[stage.name][1]
    )
    try:
        compute(run)
    except _SetUp as end:
        return end.training
    raise AssertionError("a training begins in every stage that trains")
