"""Stage ``classification``: a BERT and labelled texts → a classifier; once per task,
and only where there are tasks.
"""

import sys
from pathlib import Path
from typing import Any

from pipelines.classification.params import ClassificationCommon, TaskParams
from pipelines.formats.text import Tally
from pipelines.frame.params_reader import ParamsFile, Seed, validate
from pipelines.frame.stage import Metrics, Stage, StageRun, item_argument, run_stage
from pipelines.nn.transformer.params import BertModelParams

SHARDS, TOKENIZER = Path("data/shards"), Path("data/tokenizer")


def declare(params_file: ParamsFile, name: str) -> Stage:
    """Reads its examples, the tokenizer, and the BERT it starts from,
    whose sizes are ``bert.model``'s.
    """
    block = f"classification.tasks.{name}"
    task = validate(params_file, block, TaskParams)
    return Stage(
        "classification",
        "pipelines.classification.classify",
        {
            "seed": Seed,
            "corpus.source_language": str,
            "corpus.target_language": str,
            "bert.model": BertModelParams,
            "classification.common": ClassificationCommon,
            block: TaskParams,
        },
        tuple(dict.fromkeys((TOKENIZER, Path(task.data), Path(task.starts_from)))),
        item=name,
    )


def classify(run: StageRun) -> Metrics:
    """Fine-tune, save in the Hugging Face format, and measure on the test examples.

    Raises:
        DataError: see `read_tables`, `word_order`; too few examples for a batch.
        CheckpointError: the BERT to start from does not fit.
        Preempted: told to stop; resumable.
    """
    import lightning.pytorch as lightning

    from pipelines.classification.data import ClassificationBatches, encode, in_order
    from pipelines.classification.model import BertClassifier
    from pipelines.classification.module import BertClassification, probabilities
    from pipelines.formats.bert.loading import load_pretrained
    from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
    from pipelines.training.nodes import ranks
    from pipelines.training.trainer import train

    common = run.section("classification.common", ClassificationCommon)
    task = run.section(f"classification.tasks.{run.stage.item}", TaskParams)
    rates = {"dropout": common.dropout, "attention_dropout": common.dropout}
    shape = run.section("bert.model", BertModelParams).model_copy(update=rates)
    data, changed = Path(task.data), Tally()
    examples = _examples(run, task, changed)
    labels = sorted({example.label for example in examples["train"]})
    tokenizer = SubwordTokenizer.load(TOKENIZER)
    encoded = {
        split: encode(rows, tokenizer, labels, common.max_length)
        for split, rows in examples.items()
    }
    unknown = _unknown(run, data, encoded)
    rank, world_size = ranks(run)

    lightning.seed_everything(run.seed, verbose=False)
    network = BertClassifier(shape, tokenizer.vocab_size, len(labels))
    start = Path(task.starts_from)
    pretrained = load_pretrained(network, start, TOKENIZER) if start != SHARDS else 0
    batches = ClassificationBatches(
        encoded["train"],
        common.batch_size,
        seed=run.seed,
        digest=run.origin["data"],
        rank=rank,
        world_size=world_size,
    )
    module = BertClassification(
        network,
        common,
        learning_rate=task.learning_rate,
        updates=common.updates,
        validation_batches=in_order(encoded["valid"], common.batch_size),
        micro_batch_size=run.hardware.micro_batch_size,
        seed=run.seed,
    )
    measured = train(module, batches, run)
    if rank > 0:
        return {}
    _save(run, network, shape, labels)
    chances_NC = probabilities(network.eval(), in_order(encoded["test"], common.batch_size))
    found = {**measured, **_measured(run, examples, labels, chances_NC)}
    found |= {"pretrained_parameters": pretrained, "changed": changed.report()}
    return {"classification": {**found, "unknown_share": unknown}}


def _examples(run: StageRun, task: TaskParams, changed: Tally) -> dict[str, Any]:
    """Split → its examples: of the task's tables, or made from its corpus."""
    from pipelines.classification.examples import read_tables, word_order

    if task.kind == "tsv":
        return read_tables(Path(task.data), changed)
    languages = (
        run.section("corpus.source_language", str),
        run.section("corpus.target_language", str),
    )
    return word_order(Path(task.data), languages, run.seed)


def _save(run: StageRun, network: Any, shape: BertModelParams, labels: list[str]) -> None:
    from pipelines.formats.bert.saving import save_pretrained

    names: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {x: n for n, x in enumerate(labels)},
    }
    architecture = "BertForSequenceClassification"
    save_pretrained(network, shape, TOKENIZER, run.work, architecture=architecture, config=names)


def _unknown(run: StageRun, data: Path, encoded: dict[str, Any]) -> dict[str, float]:
    """Split → [UNK]'s share of its tokens; a warning where they say too little."""
    from pipelines.formats.tokenizer.tokenizer import WORTH_SAYING, unknown_share

    unknown = {split: unknown_share(rows.tokens) for split, rows in encoded.items()}
    if max(unknown.values()) > WORTH_SAYING:
        listed = ", ".join(f"{100 * share:.1f} % of {split}" for split, share in unknown.items())
        run.warn(
            f"{data}: tokens unknown to the vocabulary ({listed}) say nothing; see tokenizer in "
            "params.yaml"
        )
    return unknown


def _measured(
    run: StageRun, examples: dict[str, Any], labels: list[str], chances_NC: Any
) -> Metrics:
    """Scores of the test examples, whose predictions are written beside the model."""
    from pipelines.classification.metrics import accuracy_and_f1, majority_accuracy

    answers = [labels[number] for number in chances_NC.argmax(dim=1).tolist()]
    _write_predictions(
        run.work / "predictions.tsv", examples["test"], answers, chances_NC.amax(dim=1).tolist()
    )
    tested = accuracy_and_f1([example.label for example in examples["test"]], answers)
    majority = majority_accuracy(examples["train"], examples["test"])
    run.say(
        f"{tested['test_accuracy']:.1%} of {len(answers):,} test examples are right, "
        f"{majority:.1%} by guessing the commonest label"
    )
    return {
        **tested,
        "test_majority_accuracy": majority,
        "examples": {split: len(rows) for split, rows in examples.items()},
    }


def _write_predictions(
    path: Path, examples: list[Any], answers: list[str], chances: list[float]
) -> None:
    rows = [
        (
            example.label,
            answer,
            f"{chance:.4f}",
            example.text,
            *([example.text_pair] if example.text_pair else []),
        )
        for example, answer, chance in zip(examples, answers, chances, strict=True)
    ]
    header = (
        "label",
        "predicted",
        "probability",
        "text",
        *(["text_pair"] if examples[0].text_pair else []),
    )
    path.write_text(
        "".join("\t".join(row) + "\n" for row in (header, *rows)), encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    sys.exit(
        run_stage(
            lambda params_file: declare(
                params_file, item_argument(sys.argv[1:], "classification.tasks")
            ),
            classify,
        )
    )
