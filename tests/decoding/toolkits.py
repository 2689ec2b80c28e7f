"""What other toolkits call our length penalties and stop rules."""

from typing import Literal

from pipelines.decoding.length_penalty import LengthPenalty
from pipelines.decoding.options import Stop


def of_toolkit(name: str, strength: float) -> LengthPenalty:
    """The form a toolkit has, under its own name for the strength; the end counts in all of them.

    ``transformers`` and ``ctranslate2`` (length_penalty), ``fairseq`` (lenpen), ``marian``
    (normalize): `average`; ``joeynmt`` (beam_alpha), ``opennmt`` (alpha of ``wu``): `gnmt`. The
    first two are held against their toolkits by tests; CTranslate2 4.8.5 counts the end, whether or
    not it returns it.

    Raises:
        KeyError: another name.
    """
    forms: dict[str, Literal["average", "gnmt"]] = {
        **dict.fromkeys(("transformers", "ctranslate2", "fairseq", "marian"), "average"),
        **dict.fromkeys(("joeynmt", "opennmt"), "gnmt"),
    }
    return LengthPenalty(forms[name], strength)


def stop_of_transformers(early_stopping: bool | Literal["never"]) -> Stop:
    """What `transformers` calls ``early_stopping``; its "never" is our exact rule."""
    return Stop({True: "finished", False: "likely", "never": "exact"}[early_stopping])
