"""A look into the trained models: words that BERT puts back, pairs it tells apart, what a search
keeps in its beam, and where a decoder looks.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, AutoModelForNextSentencePrediction
from transformers.utils import logging

from pipelines.decoding.beam_search import Search
from pipelines.decoding.options import Hypothesis
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.strategies import Strategy
from pipelines.formats.shards.arrays import token_type
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import CLS, MASK, SEP, SPECIAL_TOKENS
from pipelines.looks.beam_tree import beam_tree, tree_lines
from pipelines.models.protocol.files import load
from pipelines.models.protocol.sources import sources

_ANSWERS = 3
_PAIRS = 100  # of each kind
_SEED = 1
_LONGEST = 24  # source tokens of a sentence that is looked for, to be shown
_LONGEST_SHOWN = 256  # of one that is shown for want of such


def _quietly(form: Any, bert: Path) -> Any:
    """A BERT as `transformers` has it, without a word of the heads that this form has not."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return form.from_pretrained(bert).eval()


def fill_mask(
    bert: Path, tokenizer: SubwordTokenizer, lines: Sequence[str]
) -> list[dict[str, Any]]:
    """What BERT puts in the place of a word in the middle of each line.

    Returns:
        Of each line ``text`` with [MASK], ``hidden``, and ``answers``: tokens with probabilities.
    """
    model = _quietly(AutoModelForMaskedLM, bert)
    found = []
    for line in lines:
        ids = tokenizer.encode([line])[0][: model.config.max_position_embeddings - 2]
        # A word of one piece, as near to the middle as there is one.
        pieces = [tokenizer.token(index) for index in ids]
        whole = [
            place
            for place, piece in enumerate(pieces)
            if piece.isalpha() and not "".join(pieces[place + 1 : place + 2]).startswith("##")
        ]
        if not whole:
            continue
        place = min(whole, key=lambda one: (abs(one - len(ids) // 2), one))
        masked = [*ids[:place], MASK, *ids[place + 1 :]]
        with torch.no_grad():
            logits = model(torch.tensor([[CLS, *masked, SEP]])).logits[0, place + 1]
        best = logits.double().softmax(dim=-1).topk(_ANSWERS)
        answers = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        found.append(
            {
                "text": " ".join(
                    part
                    for part in (
                        tokenizer.decode(ids[:place]),
                        SPECIAL_TOKENS[MASK],
                        tokenizer.decode(ids[place + 1 :]),
                    )
                    if part
                ),
                "hidden": pieces[place],
                "answers": [[tokenizer.token(one), round(share, 4)] for share, one in answers],
            }
        )
    return found


def next_sentences(
    bert: Path, tokenizer: SubwordTokenizer, documents: Sequence[Sequence[str]], kind: str
) -> dict[str, dict[str, int]]:
    """How BERT answers pairs of neighbours in held-out documents, and pairs that are none.

    Args:
        bert: its folder.
        tokenizer: its own.
        documents: sentences of each.
        kind: what it was trained to tell from neighbours, ``bert.segments.nsp``: a ``random``
            sentence of another document, or ``sop``, the same two swapped.

    Returns:
        What a pair is → what BERT says → number; ``next`` and ``other``.
    """
    model = _quietly(AutoModelForNextSentencePrediction, bert)
    longest = model.config.max_position_embeddings
    rng = random.Random(_SEED)
    places = [(d, s) for d, document in enumerate(documents) for s in range(len(document) - 1)]
    table = {what: {"next": 0, "other": 0} for what in ("next", "other")}
    for d, s in rng.sample(places, min(_PAIRS, len(places))):
        first, second = documents[d][s], documents[d][s + 1]
        other = (second, first)
        if kind == "random":
            another = rng.randrange(len(documents) - 1)
            other = (first, rng.choice(documents[another + (another >= d)]))
        for what, pair in (("next", (first, second)), ("other", other)):
            one, two = (ids[: (longest - 3) // 2] for ids in tokenizer.encode(pair))
            ids = torch.tensor([[CLS, *one, SEP, *two, SEP]])
            types = torch.tensor([[0] * (len(one) + 2) + [1] * (len(two) + 1)])
            with torch.no_grad():
                says = int(model(ids, token_type_ids=types).logits.argmax())
            table[what]["other" if says else "next"] += 1
    return table


def searched(
    model: Path, tokenizer: SubwordTokenizer, lines: Sequence[str], params: DecodingParams
) -> list[dict[str, Any]]:
    """Beam and attention of a search, sentence by sentence.

    Returns:
        Of each line ``source`` and ``target`` (pieces), ``attention`` [target][source] or None, and
        ``tree``, lines of `tree_lines`.
    """
    network = load(model).eval()
    strategy = Strategy(params, 0, params.beam_size, params.num_best, plain=True)
    options = replace(strategy.options, attention=network.has_attention)
    found, room = [], (network.longest_source or _LONGEST_SHOWN) - 2
    for encoded in tokenizer.encode(lines):
        ids = encoded[:room]
        row: Any = np.asarray(ids, token_type(tokenizer.vocab_size))
        with torch.no_grad():
            search = Search(
                network,
                *sources([row]),
                options,
                selector=strategy.selector([0]),
                rules=strategy.rules,
            )
            (group,) = search.run()
        best: Hypothesis = group[0]
        attention = None
        if best.attention is not None:
            attention = [[round(w, 3) for w in row] for row in best.attention.tolist()]
        found.append(
            {
                "source": [tokenizer.token(one) for one in (CLS, *ids, SEP)],
                "target": [tokenizer.token(one) for one in best.tokens],
                "attention": attention,
                "tree": tree_lines(beam_tree(search.trace, group, tokenizer.token)),
            }
        )
    return found


def short_lines(lines: Sequence[str], tokenizer: SubwordTokenizer, number: int) -> list[str]:
    """The first lines that are short enough to be shown token by token, but not trivial; the
    shortest where all are longer.
    """
    fitting = (
        line
        for line, ids in zip(lines, tokenizer.encode(lines), strict=True)
        if 5 <= len(ids) <= _LONGEST
    )
    some = list(islice(fitting, number))
    return some or sorted(filter(None, lines), key=lambda line: (len(line), line))[:number]
