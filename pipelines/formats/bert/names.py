"""Names of Transformer weights in Hugging Face's BERT format, in both directions."""

import re

from torch import Tensor

VOCABULARY_TABLES = ("embeddings.token.weight", "mlm_bias")  # one row per token
# Hugging Face's name ← ours; `{}` is the number of the block.
_RULES = (
    (r"embeddings\.token\.weight", "bert.embeddings.word_embeddings.weight"),
    (r"embeddings\.position\.weight", "bert.embeddings.position_embeddings.weight"),
    (r"embeddings\.segment\.weight", "bert.embeddings.token_type_embeddings.weight"),
    (r"embeddings\.norm\.(\w+)", r"bert.embeddings.LayerNorm.\1"),
    (
        r"blocks\.(\d+)\.attention\.(query|key|value)\.(\w+)",
        r"bert.encoder.layer.\1.attention.self.\2.\3",
    ),
    (
        r"blocks\.(\d+)\.attention\.output\.(\w+)",
        r"bert.encoder.layer.\1.attention.output.dense.\2",
    ),
    (
        r"blocks\.(\d+)\.attention_norm\.(\w+)",
        r"bert.encoder.layer.\1.attention.output.LayerNorm.\2",
    ),
    (r"blocks\.(\d+)\.feed_forward\.inner\.(\w+)", r"bert.encoder.layer.\1.intermediate.dense.\2"),
    (r"blocks\.(\d+)\.feed_forward\.outer\.(\w+)", r"bert.encoder.layer.\1.output.dense.\2"),
    (r"blocks\.(\d+)\.feed_forward_norm\.(\w+)", r"bert.encoder.layer.\1.output.LayerNorm.\2"),
    (r"pooler\.(\w+)", r"bert.pooler.dense.\1"),
    (r"mlm_transform\.0\.(\w+)", r"cls.predictions.transform.dense.\1"),
    (r"mlm_transform\.2\.(\w+)", r"cls.predictions.transform.LayerNorm.\1"),
    (r"mlm_bias", "cls.predictions.bias"),
    (r"nsp\.(\w+)", r"cls.seq_relationship.\1"),
    (r"classifier\.(\w+)", r"classifier.\1"),
)


def hugging_face_name(name: str) -> str:
    """Hugging Face's name of one of our BERT's parameters.

    Raises:
        KeyError: a BERT has no such parameter.
    """
    for pattern, replacement in _RULES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    raise KeyError(name)


def to_hugging_face(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under Hugging Face's names."""
    return {hugging_face_name(name): tensor.contiguous() for name, tensor in weights.items()}
