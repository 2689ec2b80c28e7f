"""Stage ``decoding``: a model and the test sentences → greedy and beam hypotheses;
once per architecture.
"""

import sys
from pathlib import Path

from pipelines.decoding.params import DecodingParams
from pipelines.frame.params_reader import ParamsFile, Seed
from pipelines.frame.stage import Metrics, Stage, StageRun, item_argument, run_stage

SHARDS, TOKENIZER, MODELS = Path("data/shards"), Path("data/tokenizer"), Path("data/seq2seq")


def declare(params_file: ParamsFile, architecture: str) -> Stage:
    """Reads one model, the tokenizer and the test pairs."""
    from pipelines.models.protocol.registry import family_module

    family = f"seq2seq.architectures.{architecture}.family"
    return Stage(
        "decoding",
        "pipelines.decoding.decode",
        {"seed": Seed, "decoding": DecodingParams, family: str},
        (MODELS / architecture, TOKENIZER, SHARDS),
        item=architecture,
        modules=(family_module(params_file.get(family)),),
    )


def decode(run: StageRun) -> Metrics:
    """Search greedily and with the beam, prove the scores, write the hypotheses.

    Raises:
        CheckpointError: the model folder is damaged.
        CheckFailed: a hypothesis' score is not what teacher forcing gives it.
    """
    from pipelines.decoding.hypotheses import write_hypotheses
    from pipelines.models.protocol.files import load

    model = load(MODELS / str(run.stage.item))
    measured = write_hypotheses(run, model)
    return {
        "decoding": {
            **measured,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
    }


if __name__ == "__main__":
    sys.exit(
        run_stage(
            lambda params_file: declare(
                params_file, item_argument(sys.argv[1:], "seq2seq.architectures")
            ),
            decode,
        )
    )
