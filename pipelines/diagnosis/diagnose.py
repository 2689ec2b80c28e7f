"""Stage ``diagnosis``: a trained model → what its loss looks like from where it stands, and a
verdict in words; once per model.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from pipelines.bert.params import BertParams
from pipelines.classification.params import ClassificationCommon
from pipelines.diagnosis.params import Closely, Diagnosed
from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, item_argument, run_stage
from pipelines.frame.trials import declared, set_up
from pipelines.seq2seq.params import CommonParams

# Of all trainings, for DVC cannot choose the sections of one.
_SECTIONS = {
    "bert": BertParams,
    "classification.common": ClassificationCommon,
    "seq2seq.common": CommonParams,
}


def declare(params_file: ParamsFile, name: str) -> Stage:
    """Reads the trained model, and what its training read.

    Raises:
        ParamsError: a section is wrong, or its training does not exist.
    """
    block = f"diagnosis.models.{name}"
    model = validate(params_file, block, Diagnosed)
    training = declared(params_file, *model.training)
    languages = {f"corpus.{side}_language": str for side in ("source", "target")}
    sections: dict[str, Any] = {
        "seed": Seed,
        "diagnosis.common": Closely,
        block: Diagnosed,
        **languages,
        **_SECTIONS,
        model.section: training.sections[model.section],
    }
    data = (Path(model.trained), Path(model.data), Path("data/shards"), Path("data/tokenizer"))
    return Stage(
        "diagnosis",
        "pipelines.diagnosis.diagnose",
        sections,
        tuple(dict.fromkeys(data)),
        item=name,
        modules=(training.entry, *training.modules),
    )


def diagnose(run: StageRun) -> Metrics:
    """Measure, and say what it means.

    Raises:
        CheckpointError: the weights cannot be read, or are of another network.
        CheckFailed: weights or losses are not finite, or have no second derivative.
        OutOfMemory: the rows do not fit.
        Preempted: told to stop; it starts anew.
    """
    import torch

    from pipelines.diagnosis.examination import examine
    from pipelines.diagnosis.pictures import draw
    from pipelines.diagnosis.subject import Subject, begin_at_random
    from pipelines.diagnosis.verdict import verdicts
    from pipelines.frame.files import write_json
    from pipelines.frame.params_reader import read_params

    torch.set_num_threads(run.hardware.num_threads)
    name = str(run.stage.item)
    model = run.section(f"diagnosis.models.{name}", Diagnosed)
    params_file = read_params()
    random = begin_at_random(params_file, model.section)
    with tempfile.TemporaryDirectory() as folder:
        # Whole batches, and no other machine is asked to train.
        alone = run.hardware.model_copy(update={"devices": 1, "num_nodes": 1, "strategy": "auto"})
        stage = declared(params_file, *model.training)
        training = set_up(params_file, stage, alone, Path(folder))
        subject = Subject.load(training, model, random=random)
        found = examine(subject, run.section("diagnosis.common", Closely), run.seed)
    said = verdicts(found)
    found["verdicts"] = [
        {"name": one.name, "words": str(one), "key": one.key, "page": one.page} for one in said
    ]
    write_json(run.work / "diagnosis.json", found)
    draw(found, run.work)
    for one in said:
        run.warn(f"{model.section} {one}")
    sharpness = f"sharpness {found['eigenvalues']['largest'][0]:.3g}, "
    run.say(sharpness + (f"{len(said)} findings" if said else "nothing stands out"))
    return {"diagnosis": {key: found[key] for key in ("loss", "update", "verdicts")}}


if __name__ == "__main__":
    sys.exit(
        run_stage(
            lambda params_file: declare(
                params_file, item_argument(sys.argv[1:], "diagnosis.models")
            ),
            diagnose,
        )
    )
