"""Quantizations of an export to CTranslate2, apart from what makes one, which imports torch."""

# Nats a token that CTranslate2's log-probabilities may differ from ours.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "int8": 0.2}
QUANTIZATIONS = tuple(TOLERANCE)
