"""Rules between what is diagnosed and what was trained."""

from collections.abc import Iterator
from typing import Any

from pipelines.diagnosis.params import Diagnosed
from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.params_problems import nearest
from pipelines.frame.params_reader import ParamsFile


def diagnosis_problems(params_file: ParamsFile, values: dict[str, Any]) -> Iterator[str]:
    """Each diagnosed model is one that is trained, and its block says of it what its own does;
    snapshots are of updates that a training has.
    """
    yield from _snapshot_problems(params_file, values)
    for name, model in values["diagnosis"].models.items():
        key = f"diagnosis.models.{name}"
        try:
            block = params_file.get(model.section)
        except ParamsError:
            known = ["bert", *_sections(values)]
            rule = "be of a model that is trained: bert, an architecture or a task"
            remedy = nearest(model.section, known, f"or take it out ({key}: null)")
            yield _problem(params_file, f"{key}.section", model.section, rule, remedy)
            continue
        for part, wanted in _wanted(model, block).items():
            if (given := getattr(model, part)) != wanted:
                rule = f"be {wanted}, as {model.section} has it"
                yield _problem(params_file, f"{key}.{part}", given, rule, "correct it")
        kept = _snapshots(values, model)
        if model.update != "last" and model.update not in kept:
            rule = f"be last or one of the snapshots of its training ({kept})"
            remedy = "add it to snapshots there, or set last"
            yield _problem(params_file, f"{key}.update", model.update, rule, remedy)


def _wanted(model: Diagnosed, block: Any) -> dict[str, str]:
    stage, item = model.training
    return {
        "trained": f"data/{stage}/{item}" if item else f"data/{stage}",
        "data": block.get("data", "data/shards") if stage == "classification" else "data/shards",
    }


def _sections(values: dict[str, Any]) -> list[str]:
    architectures = [f"seq2seq.architectures.{name}" for name in values["seq2seq"].architectures]
    tasks = [f"classification.tasks.{name}" for name in values["classification"].tasks]
    return architectures + tasks


def _trainings(values: dict[str, Any]) -> dict[str, tuple[str, Any, int]]:
    """Stage → key, optimization and number of updates of its training."""
    bert = values["bert"]
    others = {stage: values[stage].common for stage in ("seq2seq", "classification")}
    return {
        "bert": ("bert.training", bert.training, bert.updates),
        **{name: (f"{name}.common", one, one.updates) for name, one in others.items()},
    }


def _snapshots(values: dict[str, Any], model: Diagnosed) -> list[int]:
    found: list[int] = _trainings(values)[model.training[0]][1].snapshots
    return found


def _snapshot_problems(params_file: ParamsFile, values: dict[str, Any]) -> Iterator[str]:
    for key, optimization, updates in _trainings(values).values():
        for update in optimization.snapshots:
            if update > updates:
                rule = f"not exceed the updates of its training ({updates})"
                yield _problem(params_file, f"{key}.snapshots", update, rule, "lower it")


def _problem(params_file: ParamsFile, key: str, value: object, rule: str, remedy: str) -> str:
    return broken_rule(params_file.place(key.split(".")), key, value, rule, remedy)
