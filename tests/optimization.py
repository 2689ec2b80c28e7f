"""One complete set of optimization params for tests that care about a few of them."""

from typing import Any

OPTIMIZATION: dict[str, Any] = {
    "weight_decay": 0.0,
    "beta2": 0.98,
    "gradient_clip": 1.0,
    "warmup_updates": 0,
    "schedule": "constant",
    "updates": 1,
    "batch_size": 1,
    "precision": "32-true",
    "validate_every": 1,
    "log_every": 1,
}
