"""One complete set of optimization params for tests that care about a few of them."""

from typing import Any

OPTIMIZATION: dict[str, Any] = {
    "optimizer": {
        "name": "adamw",
        "beta1": 0.9,
        "beta2": 0.98,
        "epsilon": 1e-8,
        "bias_correction": True,
        "weight_decay": 0.0,
    },
    "schedule": {"name": "constant", "warmup_updates": 0},
    "gradient_clip": 1.0,
    "precision": "32-true",
    "snapshots": [],
    "select": "last",
    "average": 1,
    "patience": "none",
    "validate_every": 1,
    "log_every": 1,
}
PAIRS: dict[str, Any] = {
    "training_pairs": "all",
    "batch_unit": "pairs",
    "bleu_pairs": 0,
    "bleu_max_length": 10,
    "select_by": "loss",
}
