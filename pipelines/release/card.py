"""Model cards as the Hugging Face Hub reads them: front matter with figures, and what people ask.

https://huggingface.co/docs/hub/model-cards
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

UNKNOWN_LICENSE = "unknown"  # as the Hub calls it
_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z]+)?")  # of a language; others are names of two sides


@dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
        metric: as the Hub calls it, ``bleu``.
        title: for people.
        value: what was measured.
        shown: the same with its interval, for people.
    """

    metric: str
    title: str
    value: float
    shown: str


@dataclass(frozen=True)
class Origin:
    """What a model was made of.

    Attributes:
        commit: of this project, and whether files of it were ``changed`` since.
        out: DVC's hash of the folder the stage wrote.
        seed, params, data: as the stage's metrics have them.
    """

    commit: str
    changed: bool
    out: str
    seed: int
    params: str
    data: str


@dataclass(frozen=True)
class Data:
    """The text of a model.

    Attributes:
        raw: its folder.
        license: of it; None if nobody said.
        languages: source and target.
        sizes: what there was of it, with numbers.
    """

    raw: str
    license: str | None
    languages: tuple[str, str]
    sizes: list[tuple[str, str]]


@dataclass(frozen=True)
class Described:
    """What a card says of one model, beside where it comes from.

    Attributes:
        name: of its folder.
        what: it is, in a sentence.
        stage: DVC's name of the instance that made it.
        task: of the Hub, ``translation``.
        library: that loads it; None for plain PyTorch.
        tags: more words to find it by.
        use: a program that uses it, to be run in its folder.
        installs: packages the program needs.
        how: what else there is to know about its use.
        scores: figures, and how they were ``measured``.
        limits: sentences.
        begun_from: folder of a model of others that the training began with.
        raw: text of its own, other than the corpus.
    """

    name: str
    what: str
    stage: str
    task: str
    library: str | None
    tags: Sequence[str]
    use: str
    installs: str
    how: str
    scores: Sequence[Score]
    measured: str
    limits: Sequence[str]
    begun_from: str | None = None
    raw: str | None = None


def card(model: Described, data: Data, origin: Origin) -> str:
    """``README.md`` of a model."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    if model.raw:  # nobody said whose it is
        data = Data(model.raw, None, data.languages, [])
    if model.begun_from:
        data = replace(data, license=None)
    return environment.get_template("card.md.jinja").render(
        metadata=metadata(model, data),
        name=model.name,
        what=model.what,
        data=data,
        languages=data.languages if model.task == "translation" else (),
        installs=model.installs,
        use=model.use.strip(),
        how=model.how,
        scores=[(score.title, score.shown) for score in model.scores],
        measured=model.measured,
        limits=model.limits,
        begun_from=model.begun_from,
        origin=origin,
        stage=model.stage,
    )


def metadata(model: Described, data: Data) -> str:
    """The card's front matter, YAML, with a model-index."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=model.task,
            dataset_type=Path(data.raw).name,
            dataset_name=data.raw,
            dataset_split="test" if model.task != "fill-mask" else "validation",
            metric_type=score.metric,
            metric_name=score.title,
            metric_value=round(score.value, 4),
        )
        for score in model.scores
    ]
    codes = [one for one in dict.fromkeys(data.languages) if _CODE.fullmatch(one)]
    more: dict[str, Any] = {"library_name": model.library} if model.library else {}
    if data.license == "other":
        more |= {"license_name": "terms-of-the-data", "license_link": "README.md"}
    found = ModelCardData(
        language=codes or None,
        license=data.license or UNKNOWN_LICENSE,
        pipeline_tag=model.task,
        tags=["maskline", *model.tags],
        model_name=model.name,
        eval_results=results,
        **more,
    )
    return str(found.to_yaml()).strip()
