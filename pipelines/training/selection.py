"""Which validations' weights are worth keeping: {update, value} each,
the value a list of numbers, lower is better.
"""

from typing import Any

from pipelines.optim.params import OptimizationParams


def best(validations: list[dict[str, Any]]) -> dict[str, Any]:
    """The first validation of the lowest value."""
    return min(validations, key=lambda one: (one["value"], one["update"]))


def to_keep(validations: list[dict[str, Any]], params: OptimizationParams) -> list[dict[str, Any]]:
    """The validations whose checkpoints stay: the `wanted` ones, and the best to go back to."""
    stay = wanted(validations, params)
    return sorted(
        stay + [one for one in [best(validations)] if one not in stay],
        key=lambda one: one["update"],
    )


def wanted(validations: list[dict[str, Any]], params: OptimizationParams) -> list[dict[str, Any]]:
    """The validations whose weights a section selects, in the order of their updates.

    Under ``select: best`` the ``average`` best ones, under ``last`` the last ones.
    """
    if params.select == "best":
        chosen = sorted(validations, key=lambda one: (one["value"], one["update"]))[
            : params.average
        ]
        return sorted(chosen, key=lambda one: one["update"])
    return validations[-params.average :]
