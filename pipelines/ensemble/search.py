"""Stage ``ensemble``: several models and the test sentences → their common hypotheses;
once per ensemble.
"""

import sys
from pathlib import Path

from pipelines.decoding.params import DecodingParams
from pipelines.ensemble.params import EnsembleParams
from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, item_argument, run_stage

SHARDS, TOKENIZER, MODELS = Path("data/shards"), Path("data/tokenizer"), Path("data/seq2seq")


def declare(params_file: ParamsFile, ensemble: str) -> Stage:
    """Reads its members' models, the tokenizer and the test pairs;
    writes where single models' hypotheses stand.
    """
    from pipelines.models.protocol.registry import family_module

    block = f"ensembles.{ensemble}"
    members = validate(params_file, block, EnsembleParams).members
    families = [params_file.get(f"seq2seq.architectures.{name}.family") for name in members]
    return Stage(
        "ensemble",
        "pipelines.ensemble.search",
        {"seed": Seed, "decoding": DecodingParams, block: EnsembleParams},
        (*(MODELS / name for name in members), TOKENIZER, SHARDS),
        item=ensemble,
        modules=tuple(dict.fromkeys(map(family_module, families))),
        folder="decoding",
    )


def search_together(run: StageRun) -> Metrics:
    """As stage ``decoding``, with the mean of the members' probabilities.

    Raises:
        CheckpointError: a model folder is damaged.
        CheckFailed: a hypothesis' score is not what teacher forcing gives it.
    """
    from pipelines.decoding.hypotheses import write_hypotheses
    from pipelines.ensemble.network import Ensemble
    from pipelines.models.protocol.files import load

    members = run.section(f"ensembles.{run.stage.item}", EnsembleParams).members
    ensemble = Ensemble([load(MODELS / name) for name in members])
    measured = write_hypotheses(run, ensemble)
    return {
        "decoding": {
            **measured,
            "parameters": sum(parameter.numel() for parameter in ensemble.parameters()),
        }
    }


if __name__ == "__main__":
    sys.exit(
        run_stage(
            lambda params_file: declare(params_file, item_argument(sys.argv[1:], "ensembles")),
            search_together,
        )
    )
