"""Small params and documents for the tests of pretraining."""

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from pipelines.bert.params import BertParams
from pipelines.formats.shards.arrays import DocumentShard, Ragged
from pipelines.models.bert import Bert
from tests.optimization import OPTIMIZATION

MODEL: dict[str, Any] = {
    "num_layers": 2,
    "width": 32,
    "num_heads": 4,
    "feed_forward_width": 64,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "max_positions": 64,
    "initializer_range": 0.1,
    "vocab_pad_multiple": 1,
}
PHASE: dict[str, Any] = {
    "updates": 4,
    "batch_size": 8,
    "ramp": "none",
    "max_length": 32,
    "max_predictions": 6,
}


def bert_params(**changes: Any) -> BertParams:
    """A whole section; ``changes`` are laid over its parts, ``phases`` over its one phase or given
    as a list.
    """
    sections: dict[str, Any] = {
        "starts_from": "data/shards",
        "model": MODEL,
        "segments": {"nsp": "random", "short_rate": 0.1, "packed": False},
        "masking": {"rate": 0.15, "evaluation_rate": 0.15, "whole_words": False},
        "phases": [PHASE],
        "training": {**OPTIMIZATION, "learning_rate": 1e-3},
    }
    for name, change in changes.items():
        if name == "phases":
            sections[name] = change if isinstance(change, list) else [{**PHASE, **change}]
        else:
            sections[name] = {**sections[name], **change}
    return BertParams(**sections)


def documents(
    sizes: list[int], languages: dict[str, tuple[int, int]], *, words: int = 9
) -> DocumentShard:
    """Documents of so many sentences of 1 … ``words`` − 1 tokens; a token is 5 + its document, so
    it tells it.
    """
    rng = np.random.default_rng(0)
    rows = [
        [5 + document] * rng.integers(1, words)
        for document, size in enumerate(sizes)
        for _ in range(size)
    ]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    tokens = np.concatenate(rows).astype(np.uint16)
    return DocumentShard(
        Ragged(tokens, offsets), np.concatenate([[0], np.cumsum(sizes)]), languages
    )


def two_languages() -> DocumentShard:
    """200 documents, the first of a single sentence."""
    sizes = np.random.default_rng(1).integers(1, 9, 200).tolist()
    return documents([1, *sizes[1:]], {"en": (0, 90), "de": (90, 200)})


def mlm_logits(bert: Bert, hidden_RTD: Tensor) -> Tensor:
    """Logits [R, T, V] at every position, as `transformers` gives them; training asks for fewer."""
    transformed_RTD = bert.mlm_transform(hidden_RTD)
    return functional.linear(transformed_RTD, bert.embeddings.token.weight, bert.mlm_bias)
