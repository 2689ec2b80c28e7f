"""All of params.yaml at once: every section, and the rules between sections.

Stages never import this module: a decoding knob must not re-run BERT.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union

from pydantic import Field

from pipelines.bert.params import BertParams
from pipelines.classification.params import ClassificationParams
from pipelines.corpus.params import CorpusParams
from pipelines.decoding.params import DecodingParams
from pipelines.diagnosis.params import DiagnosisParams
from pipelines.ensemble.params import EnsembleParams
from pipelines.evaluation.params import EvaluationParams
from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.hardware import Hardware
from pipelines.frame.params_problems import dotted, nearest
from pipelines.frame.params_reader import (
    Name,
    ParamsFile,
    Section,
    Seed,
    only_plain_values,
    validate,
)
from pipelines.frame.tracking import TrackingParams
from pipelines.models.protocol.registry import families, schema_of
from pipelines.params.diagnosis_rules import diagnosis_problems
from pipelines.report.params import ReportParams
from pipelines.seq2seq.params import CommonParams
from pipelines.shards.params import ShardsParams
from pipelines.tokenizer.params import TokenizerParams

_ANY_FAMILY: Any = Annotated[
    Union[tuple(schema_of(family) for family in families())],  # noqa: UP007
    Field(discriminator="family"),
]


class Seq2SeqParams(Section):
    """The ``seq2seq`` section."""

    common: CommonParams
    architectures: Annotated[dict[Name, _ANY_FAMILY], Field(min_length=1)]


class AllParams(Section):
    """The whole of params.yaml."""

    seed: Seed
    corpus: CorpusParams
    tokenizer: TokenizerParams
    shards: ShardsParams
    bert: BertParams
    classification: ClassificationParams
    seq2seq: Seq2SeqParams
    decoding: DecodingParams
    ensembles: dict[Name, EnsembleParams]
    evaluation: EvaluationParams
    diagnosis: DiagnosisParams
    report: ReportParams
    hardware: Hardware
    tracking: TrackingParams


SECTIONS: dict[str, Any] = dict(AllParams.__annotations__)


def problems_of(params_file: ParamsFile) -> list[str]:
    """Everything wrong with a params file, each problem with its line."""
    try:
        only_plain_values(params_file)
    except ParamsError as error:
        return [str(error)]
    missing = [key for key in SECTIONS if key not in params_file.root]
    unknown = [str(key) for key in params_file.root if key not in SECTIONS]
    problems = [
        broken_rule(
            params_file.place([key]),
            "section",
            key,
            f"be one of {', '.join(SECTIONS)}",
            nearest(key, missing, nearest(key, list(SECTIONS), "remove it")),
        )
        for key in unknown
    ]
    values: dict[str, Any] = {}
    for section, schema in SECTIONS.items():
        if section in missing and nearest(section, unknown, ""):
            continue  # it is there, misspelt
        try:
            values[section] = validate(params_file, section, schema)
        except ParamsError as error:
            problems.append(str(error))
    return problems or list(_spanning_problems(params_file, values))


def _spanning_problems(params_file: ParamsFile, values: dict[str, Any]) -> Iterator[str]:
    """Rules between sections; only asked when every section is right by itself."""
    blocks: Mapping[str, Any] = values["seq2seq"].architectures
    for name, block in blocks.items():
        key = f"seq2seq.architectures.{name}"
        if hasattr(block, "max_positions"):
            yield from _position_problems(params_file, f"{key}.max_positions", values)
        made = ("data/shards", "data/bert")
        if (
            block.starts_from not in made
            and not (params_file.path.parent / block.starts_from).is_dir()
        ):
            rule = "be data/shards, data/bert or the folder of a Hugging Face BERT"
            yield _problem(
                params_file,
                f"{key}.starts_from",
                rule,
                nearest(block.starts_from, made, "put it there"),
            )
        if block.starts_from == "data/bert":
            for size in ("num_layers", "width", "num_heads", "feed_forward_width", "max_positions"):
                wanted = getattr(values["bert"].model, size)
                if getattr(block, size) != wanted:
                    rule = f"equal bert.model.{size} ({wanted})"
                    yield _problem(
                        params_file, f"{key}.{size}", rule, "the architecture starts from that BERT"
                    )
    yield from _schedule_problems(params_file, values)
    longest = values["classification"].common.max_length
    positions = values["bert"].model.max_positions
    if longest > positions:
        rule = f"not exceed bert.model.max_positions ({positions})"
        yield _problem(params_file, "classification.common.max_length", rule, "lower it")
    yield from _evaluation_problems(params_file, values, list(blocks))
    yield from diagnosis_problems(params_file, values)
    yield from _coverage_problems(params_file, values)


def _evaluation_problems(
    params_file: ParamsFile, values: dict[str, Any], architectures: list[str]
) -> Iterator[str]:
    """What is searched together and compared has to be there, and be comparable."""
    for name, ensemble in values["ensembles"].items():
        if name in architectures:
            yield _problem(
                params_file, f"ensembles.{name}", "not be named like an architecture", "rename it"
            )
        for number, member in enumerate(ensemble.members):
            if member not in architectures:
                yield _unknown_name(
                    params_file, ["ensembles", name, "members", number], member, architectures
                )
    names = [*architectures, *values["ensembles"]]
    for key in ("lowercase", "strip_accents"):
        if getattr(values["tokenizer"], key) and not getattr(values["evaluation"], key):
            rule = f"be true where tokenizer.{key} is"
            yield _problem(
                params_file,
                f"evaluation.{key}",
                rule,
                "set it; translations come that way, references do not",
            )
    for number, pair in enumerate(values["evaluation"].comparisons):
        for name in {pair.system, pair.baseline} - set(names):
            yield _unknown_name(params_file, ["evaluation", "comparisons", number], name, names)


def _coverage_problems(params_file: ParamsFile, values: dict[str, Any]) -> Iterator[str]:
    """Coverage is attention's; ensembles have none of their own."""
    if values["decoding"].score.coverage:
        blocks = params_file.get("seq2seq.architectures")
        without = [name for name, block in blocks.items() if block.get("attention") == "none"]
        for name in (*without, *values["ensembles"]):
            rule = f"be 0 where something is searched that has no attention of its own ({name})"
            yield _problem(
                params_file, "decoding.score.coverage", rule, "set it to 0 or take that out"
            )


def _unknown_name(
    params_file: ParamsFile, path: list[str | int], name: str, names: list[str]
) -> str:
    return broken_rule(
        params_file.place(path),
        dotted(path),
        name,
        f"be one of {', '.join(names)}",
        nearest(name, names, "correct it"),
    )


def _position_problems(params_file: ParamsFile, key: str, values: dict[str, Any]) -> Iterator[str]:
    """A table of positions has to hold the longest source and the longest hypothesis."""
    positions, longest = params_file.get(key), values["shards"].max_sentence_tokens + 2
    if positions < longest:
        rule = f"be at least shards.max_sentence_tokens + 2 ({longest})"
        yield _problem(params_file, key, rule, "raise it or lower shards.max_sentence_tokens")
    common = values["seq2seq"].common
    if common.bleu_pairs and positions < common.bleu_max_length:
        rule = f"be at least seq2seq.common.bleu_max_length ({common.bleu_max_length})"
        yield _problem(params_file, key, rule, "raise it or lower seq2seq.common.bleu_max_length")
    if positions < values["decoding"].max_length:
        rule = f"be at least decoding.max_length ({values['decoding'].max_length})"
        yield _problem(params_file, key, rule, "raise it or lower decoding.max_length")


def _schedule_problems(params_file: ParamsFile, values: dict[str, Any]) -> Iterator[str]:
    """A warm-up, a descent and a ramp have to fit into the training they belong to."""
    bert, tasks, common = values["bert"], values["classification"].common, values["seq2seq"].common
    trainings = [
        (
            "bert.training.schedule",
            bert.training.schedule,
            bert.updates,
            "the updates of bert.phases",
        ),
        ("seq2seq.common.schedule", common.schedule, common.updates, "seq2seq.common.updates"),
    ]
    if values["classification"].tasks:
        trainings.append(
            (
                "classification.common.schedule",
                tasks.schedule,
                tasks.updates,
                "classification.common.updates",
            )
        )
    for key, schedule, updates, name in trainings:
        if schedule.warmup_updates >= updates:
            yield _problem(
                params_file, f"{key}.warmup_updates", f"be below {name} ({updates})", "lower it"
            )
        elif (descent := getattr(schedule, "decay_updates", 0)) > updates - schedule.warmup_updates:
            rule = f"fit between warm-up and end ({updates - schedule.warmup_updates} of {name})"
            yield _problem(params_file, f"{key}.decay_updates", rule, f"lower it ({descent})")
    for number, phase in enumerate(bert.phases):
        if phase.ramp != "none" and phase.ramp.updates > phase.updates:
            path: list[str | int] = ["bert", "phases", number, "ramp", "updates"]
            rule = f"not exceed the updates of its phase ({phase.updates})"
            yield broken_rule(
                params_file.place(path), dotted(path), phase.ramp.updates, rule, "lower it"
            )


def _problem(params_file: ParamsFile, key: str, rule: str, remedy: str) -> str:
    return broken_rule(params_file.place(key.split(".")), key, params_file.get(key), rule, remedy)
