"""Masked language modelling (Devlin et al. 2019, section 3.1): what is hidden, and how.

Shapes: B batch, T length, K most predictions per row, M masked positions of the whole batch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.bert.params import MaskingParams
from pipelines.tokenizer.special_tokens import MASK, NUM_SPECIAL_TOKENS

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Masked:
    """A batch with hidden tokens.

    Attributes:
        tokens: [B, T], 80 % of the chosen positions [MASK], 10 % any token, 10 % unchanged.
        positions: [M], flat (row · T + column), row by row.
        labels: [M], the original tokens.
    """

    tokens: Ints
    positions: Ints
    labels: Ints


def num_draws(max_length: int, params: MaskingParams) -> int:
    """Uniform draws `mask` wants per row."""
    return max_length + 2 * params.max_predictions


def mask(
    tokens: Ints,
    lengths: Ints,
    draws: npt.NDArray[np.float64],
    params: MaskingParams,
    *,
    max_length: int,
    vocab_size: int,
) -> Masked:
    """Hide exactly ``min(max_predictions, max(1, round(length · rate)))`` tokens of each row, never special ones.

    Args:
        tokens: [B, T] with T ≤ max_length.
        lengths: [B], special tokens included, as in google-research/bert.
        draws: [B, num_draws] uniforms; a row's masks depend on its own draws alone, not on T or the batch.
        params: rate and limit.
        max_length: T of the longest possible row.
        vocab_size: random tokens are drawn from the whole vocabulary.
    """
    B, T = tokens.shape
    K = params.max_predictions
    maskable = tokens >= NUM_SPECIAL_TOKENS
    score = np.where(maskable, draws[:, :T], 2.0)
    order = np.argsort(score, axis=1, kind="stable")[:, :K]
    wanted = np.clip(np.rint(lengths * params.rate).astype(np.int64), 1, K)
    count = np.minimum(wanted, maskable.sum(axis=1))
    chosen = np.arange(order.shape[1]) < count[:, None]
    rows = np.broadcast_to(np.arange(B)[:, None], order.shape)[chosen]
    columns = order[chosen]

    kind = draws[:, max_length : max_length + K][:, : order.shape[1]][chosen]
    random_token = (draws[:, max_length + K :][:, : order.shape[1]][chosen] * vocab_size).astype(np.int64)
    labels = tokens[rows, columns]
    hidden = tokens.copy()
    hidden[rows, columns] = np.where(kind < 0.8, MASK, np.where(kind < 0.9, random_token, labels))
    return Masked(hidden, rows * T + columns, labels)
