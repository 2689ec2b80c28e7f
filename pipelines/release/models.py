"""The models of a checkout, each as a folder with its card."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.decoding.params import DecodingParams
from pipelines.exports.folders import save_encoder_decoder
from pipelines.exports.hugging_face import architecture_of
from pipelines.exports.plain_torch import lines
from pipelines.exports.portable_tokenizer import share_alike
from pipelines.formats.corpus.files import pair_file, read_lines
from pipelines.frame.errors import DataError, ParamsError, broken_rule
from pipelines.frame.params_reader import ParamsFile, validate
from pipelines.models.protocol.params import ArchitectureParams
from pipelines.models.recurrent import Params as RecurrentParams
from pipelines.release.card import Described, Origin, Score
from pipelines.report.graph import locked_stages
from pipelines.report.page import commit
from pipelines.report.results import DATA, Results, Row, read_json

TOKENIZER = DATA / "tokenizer"
_MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "vocab.txt")  # fmt: skip
_TRANSLATE = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForSeq2SeqLM.from_pretrained(".").eval()
text = {text!r}
given = tokenizer(text, truncation=True, return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**given)[0], skip_special_tokens=True))
"""
_FILL = """\
from transformers import pipeline

fill = pipeline("fill-mask", model=".")
for one in fill({text!r}):
    print(one["token_str"], round(one["score"], 2))
"""
_CLASSIFY = """\
from transformers import pipeline

classify = pipeline("text-classification", model=".")
print(classify({text!r}))
"""
_PAIRS = {"random": "next sentences", "sop": "order of sentences"}
_TELLS = {
    "random": "whether one sentence follows the other",
    "sop": "whether two sentences are in order or swapped (0: in order)",
}
_SEEN = (
    "Nothing but text of this kind was tested; it may repeat what is wrong in its training text."
)


def names(params: ParamsFile) -> list[str]:
    """Models that can be released: BERT, tasks, architectures.

    Raises:
        ParamsError: two have the same name.
    """
    found = ["bert", *params.get("classification.tasks"), *params.get("seq2seq.architectures")]
    for name in found:
        if found.count(name) > 1:
            rule, remedy = "be the name of one model, for each is a folder", "rename one"
            raise ParamsError(broken_rule(str(params.path), "name", str(name), rule, remedy))
    return list(map(str, found))


def write_model(name: str, params: ParamsFile, results: Results, folder: Path) -> Described:
    """A model's files in a folder that is there, and what its card says.

    Raises:
        DataError: its stage has not run.
        CheckpointError: it cannot be read.
    """
    if name == "bert":
        return _bert(params, results, folder)
    if name in params.get("classification.tasks"):
        return _classifier(name, params, folder)
    return _encoder_decoder(name, params, results, folder)


def _bert(params: ParamsFile, results: Results, folder: Path) -> Described:
    _copy(DATA / "bert", folder)
    found, kind = results.bert, str(params.get("bert.segments.nsp"))
    scores = [
        Score(
            "accuracy", f"{title}, accuracy", found[f"valid_{task}_accuracy"],
            f"{100 * found[f'valid_{task}_accuracy']:.1f} %",
        )
        for task, title in (("mlm", "masked tokens"), ("nsp", _PAIRS.get(kind, "")))
        if f"valid_{task}_accuracy" in found
    ]  # fmt: skip
    scores.append(
        Score(
            "perplexity", "masked tokens, perplexity", found["valid_mlm_perplexity"],
            f"{found['valid_mlm_perplexity']:.2f}",
        )
    )  # fmt: skip
    continued = str(params.get("bert.starts_from"))
    begun = (
        "Begun from random weights" if continued == "data/shards" else f"Went on from `{continued}`"
    )
    head = " Its head for pairs, `BertForNextSentencePrediction`, tells " + _TELLS.get(kind, "")
    return Described(
        name="bert",
        what=f"A BERT (Devlin et al. 2019) of {found['parameters']:,} parameters. {begun}.",
        stage="bert",
        task="fill-mask",
        library="transformers",
        tags=["bert"],
        use=_FILL.format(text=_masked(params)),
        installs="transformers torch",
        how="As the encoder of something new: `AutoModel.from_pretrained`."
        + (f"{head}." if kind in _TELLS else ""),
        scores=scores,
        measured="On held-out documents of the same text.",
        limits=[
            _SEEN,
            f"Inputs of at most {params.get('bert.model.max_positions')} tokens.",
            *([] if kind in _TELLS else ["It was not trained to tell next sentences."]),
        ],
        begun_from=_begun_from(params, "bert"),
    )


def _masked(params: ParamsFile) -> str:
    """A held-out sentence with its second word hidden."""
    words = _example(params, "target").split()
    return " ".join([*words[:1], "[MASK]", *words[2:]])


def _example(params: ParamsFile, side: str) -> str:
    """The shortest sentence of the test set.

    Raises:
        DataError: it has none.
    """
    path = pair_file(DATA / "corpus", "test", str(params.get(f"corpus.{side}_language")))
    lines = [line for line in read_lines(path) if line]
    if not lines:
        rule, remedy = "have a sentence, for a card shows one", "give the corpus a test set"
        raise DataError(broken_rule(str(path), "test set", "empty", rule, remedy))
    return min(lines, key=len)


def _classifier(name: str, params: ParamsFile, folder: Path) -> Described:
    source, task = DATA / "classification" / name, params.get(f"classification.tasks.{name}")
    _copy(source, folder)
    found = read_json(source / "metrics.json")["classification"]
    scores = [
        Score(metric, title, found[key], f"{100 * found[key]:.1f} %")
        for metric, title, key in (
            ("accuracy", "accuracy", "test_accuracy"),
            ("f1", "F1, mean of the classes", "test_macro_f1"),
        )
    ]
    return Described(
        name=name,
        what=f"A BERT that classifies, of task `{name}`.",
        stage=f"classification@{name}",
        task="text-classification",
        library="transformers",
        tags=["bert"],
        use=_CLASSIFY.format(text=_example(params, "source")),
        installs="transformers torch",
        how="Two texts are one input: `classify({'text': …, 'text_pair': …})`.",
        scores=scores,
        measured="On the test set of the task.",
        limits=[_SEEN],
        begun_from=_begun_from(params, f"classification.tasks.{name}"),
        raw=None if (raw := str(task["data"])) == "data/corpus" else raw,
    )


def _copy(source: Path, folder: Path) -> None:
    for name in _MODEL_FILES:
        shutil.copyfile(source / name, folder / name)


def _encoder_decoder(name: str, params: ParamsFile, results: Results, folder: Path) -> Described:
    decoding = validate(params, "decoding", DecodingParams)
    model = save_encoder_decoder(DATA / "seq2seq" / name, TOKENIZER, decoding, folder)
    architecture, text = architecture_of(model), _example(params, "source")
    if architecture is None:
        assert isinstance(model, RecurrentParams)
        use = lines(model, decoding.max_length, text)
        how = "The program translates greedily; no class of another library is like this model."
    else:
        use = _TRANSLATE.format(text=text)
        how = (
            f"Its class is `{architecture}`; `generation_config.json` has the search of this "
            "project, as far as *Limits* does not say otherwise."
        )
    row = next(one for one in results.rows if one.name == name)
    return Described(
        name=name,
        what=_sentence(model, row),
        stage=f"seq2seq@{name}",
        task="translation",
        library="transformers" if architecture else None,
        tags=[model.family, *([architecture] if architecture else ["pytorch"])],
        use=use,
        installs=f"{'transformers' if architecture else 'safetensors tokenizers'} torch",
        how=how,
        scores=list(_scores(row)),
        measured=f"Beam search ({decoding.beam_size}, {decoding.precision}) on the test set; ± is "
        f"a 95 % interval. Signature: `{row.beam['bleu_signature']}`.",
        limits=[*_limits(params, decoding, architecture, model)],
        begun_from=_begun_from(params, f"seq2seq.architectures.{name}"),
    )  # fmt: skip


def _begun_from(params: ParamsFile, section: str) -> str | None:
    """The folder of a model of others that a training began with; None if it was one of ours."""
    begun = str(params.get(f"{section}.starts_from"))
    if begun == "data/bert":
        return _begun_from(params, "bert")
    return None if begun == "data/shards" else begun


def _sentence(model: ArchitectureParams, row: Row) -> str:
    kind = {
        "recurrent": "A recurrent encoder-decoder",
        "transformer": "A Transformer (Vaswani et al. 2017)",
        "bert2bert": "Two BERTs joined by cross-attention (Rothe et al. 2020)",
    }[model.family]
    return f"{kind} of {row.parameters:,} parameters."


def _scores(row: Row) -> Iterator[Score]:
    for metric, title in (("bleu", "BLEU"), ("chrf", "chrF"), ("ter", "TER")):
        if metric in row.beam:
            value = row.beam[metric]
            yield Score(metric, title, value, f"{value:.2f} ± {row.beam[f'{metric}_interval']:.2f}")
    for metric in sorted(name for name in row.beam if name.startswith("rouge")):
        if isinstance(value := row.beam[metric], float):
            yield Score(metric.lower(), metric, value, f"{value:.2f}")
    exact = row.beam["exact_match"]
    yield Score("exact_match", "exact matches", exact, f"{100 * exact:.1f} %")


def _limits(
    params: ParamsFile,
    decoding: DecodingParams,
    architecture: str | None,
    model: ArchitectureParams,
) -> Iterator[str]:
    yield _SEEN
    if longest := getattr(model, "max_positions", None):
        yield f"Sources of at most {longest} tokens, with [CLS] and [SEP]; longer ones are cut."
    yield f"Translations of at most {decoding.max_length} tokens."
    target = read_lines(
        pair_file(DATA / "corpus", "test", str(params.get("corpus.target_language")))
    )
    alike = 100 * share_alike(TOKENIZER, target)
    yield (
        f"Spaces stand where Maskline's own decoder puts them in {alike:.2f} % of the test set's "
        "translations."
    )
    if architecture in ("MarianMTModel", "PegasusForConditionalGeneration"):
        yield (
            "LayerNorm adds 1e-5 to variances there and 1e-12 here, so logits differ in the fifth "
            "digit."
        )
        if getattr(model, "positions", "") == "learned":
            yield "`save_pretrained` of this class leaves learned positions out: keep this folder."
    if architecture:
        yield from _of_the_search(decoding)
    if decoding.rerank != "none":
        yield f"Translations were chosen anew by `{decoding.rerank}`, which stands in no file here."


def _of_the_search(decoding: DecodingParams) -> Iterator[str]:
    """What the scores were measured with and `generate` does not know."""
    score, stop = decoding.score, decoding.stop
    if score.name != "average":
        yield (
            f"Hypotheses were ranked by `{score.name}`, which `transformers` lacks: it ranks them "
            "by their probability."
        )
    if not score.end_counts:
        yield "The end was not counted in a hypothesis' length; `generate` counts it."
    if score.coverage:
        yield f"Hypotheses were ranked by coverage too ({score.coverage}); `generate` knows none."
    if stop.rule == "finished" and stop.patience != 1:
        yield f"The search had a patience of {stop.patience}; `generate` has 1."
    if decoding.strategy.name != "beam":
        yield f"The search was `{decoding.strategy.name}`; `generate` searches with a beam."


def ensembles(params: ParamsFile, results: Results) -> list[tuple[str, str, str]]:
    """Name, members and scores of each: an ensemble has no weights of its own."""
    found: Mapping[str, Any] = params.get("ensembles")
    rows = {row.name: row for row in results.rows}
    return [
        (
            str(name),
            " + ".join(map(str, one["members"])),
            ", ".join(f"{score.title} {score.shown}" for score in _scores(rows[name])),
        )
        for name, one in found.items()
    ]


def origin_of(model: Described) -> Origin:
    """What a model was made of, as its stage wrote it down."""
    stage, _, item = model.stage.partition("@")
    folder = DATA / stage / item
    made = read_json(folder / "metrics.json")["origin"]
    asked_for = commit()
    locked = {one.out: one.digest for one in locked_stages()}
    return Origin(
        asked_for["commit"], asked_for["changed"], locked.get(folder.as_posix(), "–"),
        made["seed"], made["params"], made["data"],
    )  # fmt: skip
