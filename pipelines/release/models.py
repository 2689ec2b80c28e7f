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
from pipelines.frame.errors import DataError
from pipelines.frame.files import MANIFEST, sha256_of
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
given = tokenizer({text!r}, return_tensors="pt", return_token_type_ids=False)
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
_SEEN = (
    "Nothing but text of this kind was tested; it may repeat what is wrong in its training text."
)


def names(params: ParamsFile) -> list[str]:
    """Models that can be released: BERT, tasks, architectures."""
    found = ["bert", *params.get("classification.tasks"), *params.get("seq2seq.architectures")]
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
    found = results.bert
    scores = [
        Score(
            "accuracy", f"{title}, accuracy", found[f"valid_{task}_accuracy"],
            f"{100 * found[f'valid_{task}_accuracy']:.1f} %",
        )
        for task, title in (("mlm", "masked tokens"), ("nsp", "next sentences"))
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
    nsp = params.get("bert.segments.nsp") != "none"
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
        + (" Its head for next sentences: `BertForNextSentencePrediction`." if nsp else ""),
        scores=scores,
        measured="On held-out documents of the same text.",
        limits=[
            _SEEN,
            f"Inputs of at most {params.get('bert.model.max_positions')} tokens.",
            *([] if nsp else ["It was not trained to tell next sentences."]),
        ],
    )


def _masked(params: ParamsFile) -> str:
    """A held-out sentence with its second word hidden."""
    words = _example(params, "target").split()
    return " ".join([*words[:1], "[MASK]", *words[2:]])


def _example(params: ParamsFile, side: str) -> str:
    language = str(params.get(f"corpus.{side}_language"))
    return min(filter(None, read_lines(pair_file(DATA / "corpus", "test", language))), key=len)


def _classifier(name: str, params: ParamsFile, folder: Path) -> Described:
    source = DATA / "classification" / name
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
        how = f"It is a `{architecture}`; `generation_config.json` has the search of this project."
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
        limits=[*_limits(params, decoding, architecture)],
    )  # fmt: skip


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
    exact = row.beam["exact_match"]
    yield Score("exact_match", "exact matches", exact, f"{100 * exact:.1f} %")


def _limits(
    params: ParamsFile, decoding: DecodingParams, architecture: str | None
) -> Iterator[str]:
    yield _SEEN
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
    if architecture and decoding.score.name != "average":
        yield (
            f"Hypotheses were ranked by `{decoding.score.name}`, which `transformers` lacks: it "
            "ranks them by their probability."
        )
    if architecture and decoding.strategy.name != "beam":
        yield f"The search was `{decoding.strategy.name}`; `generate` searches with a beam."
    if decoding.rerank != "none":
        yield f"Translations were chosen anew by `{decoding.rerank}`, which stands in no file here."


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
    """What a model was made of, as its stage wrote it down.

    Raises:
        DataError: the folder is not what the stage wrote.
    """
    stage, _, item = model.stage.partition("@")
    folder = DATA / stage / item
    _require_whole(folder)
    made = read_json(folder / "metrics.json")["origin"]
    asked_for = commit()
    locked = {one.out: one.digest for one in locked_stages()}
    return Origin(
        asked_for["commit"], asked_for["changed"], locked.get(folder.as_posix(), "–"),
        made["seed"], made["params"], made["data"],
    )  # fmt: skip


def _require_whole(folder: Path) -> None:
    """Refuse an out that somebody edited."""
    for name, sha in read_json(folder / MANIFEST).items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != sha:
            raise DataError(f"{path}: must be as the stage wrote it; dvc checkout --force {folder}")
