"""Stage ``seq2seq``: pair shards (and BERT) → one model; once per architecture."""

import sys
from pathlib import Path

from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, item_argument, run_stage
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.seq2seq.params import CommonParams

SHARDS, TOKENIZER = Path("data/shards"), Path("data/tokenizer")


def declare(params_file: ParamsFile, architecture: str) -> Stage:
    """Reads the pair shards, the tokenizer, and BERT where the block starts from it."""
    from pipelines.models.protocol.registry import family_module, schema_of

    block = f"seq2seq.architectures.{architecture}"
    family = params_file.get(f"{block}.family")
    params = validate(params_file, block, schema_of(family))
    return Stage(
        "seq2seq",
        "pipelines.seq2seq.finetune",
        {"seed": Seed, "seq2seq.common": CommonParams, block: schema_of(family)},
        tuple(dict.fromkeys((SHARDS, TOKENIZER, Path(params.starts_from)))),
        item=architecture,
        modules=(family_module(family),),
    )


def finetune(run: StageRun) -> Metrics:
    """Train one architecture and measure it on the validation pairs.

    Raises:
        CheckpointError: it should start from a BERT of other sizes or of another vocabulary.
        DataError: too few pairs for a batch.
        Preempted: told to stop; resumable.
    """
    import lightning.pytorch as lightning

    from pipelines.formats.shards.arrays import PairShard, read_index
    from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
    from pipelines.models.protocol.files import save
    from pipelines.models.protocol.registry import build_model
    from pipelines.seq2seq.bleu import ValidationBleu
    from pipelines.seq2seq.data import PairBatches, draw_pairs, validation_batches
    from pipelines.seq2seq.module import PretrainedStart, Seq2SeqFinetuning
    from pipelines.seq2seq.starting import start_from_bert
    from pipelines.training.nodes import ranks
    from pipelines.training.trainer import train

    common = run.section("seq2seq.common", CommonParams)
    params = run.section(f"seq2seq.architectures.{run.stage.item}", ArchitectureParams)
    vocab_size = read_index(SHARDS)["vocab_size"]
    rank, world_size = ranks(run)

    lightning.seed_everything(run.seed, verbose=False)
    model = build_model(params, vocab_size)
    bert = Path(params.starts_from)
    pretrained = start_from_bert(model, bert, TOKENIZER) if bert != SHARDS else 0
    shard = draw_pairs(PairShard.open(SHARDS, "train"), common.training_pairs, run.seed)
    batches = PairBatches(
        shard,
        common.batch_size,
        in_tokens=common.batch_unit == "tokens",
        seed=run.seed,
        digest=run.origin["data"],
        rank=rank,
        world_size=world_size,
    )
    valid = PairShard.open(SHARDS, "valid")
    tokenizer = SubwordTokenizer.load(TOKENIZER)
    module = Seq2SeqFinetuning(
        model,
        common,
        learning_rate=params.learning_rate,
        updates=common.updates,
        validation_batches=validation_batches(valid),
        micro_batch_size=run.hardware.micro_batch_size,
        seed=run.seed,
        r_drop=params.r_drop,
        scheduled_sampling=params.scheduled_sampling,
        bleu=ValidationBleu(valid, tokenizer, common.bleu_pairs, common.bleu_max_length)
        if common.bleu_pairs
        else None,
        start=PretrainedStart.of(params, model) if pretrained else None,
    )
    measured = train(module, batches, run)
    if rank > 0:
        return {}
    save(model, params, vocab_size, run.work)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    bleu = f", BLEU {measured['valid_bleu']:.1f} greedily" if "valid_bleu" in measured else ""
    run.say(f"{parameters:,} weights; validation loss {measured['valid_loss']:.3f}{bleu}")
    return {"seq2seq": {**measured, "parameters": parameters, "pretrained_parameters": pretrained}}


if __name__ == "__main__":
    sys.exit(
        run_stage(
            lambda params_file: declare(
                params_file, item_argument(sys.argv[1:], "seq2seq.architectures")
            ),
            finetune,
        )
    )
