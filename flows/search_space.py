"""What a sweep tries: grids, random samples, budgets of successive halving."""

import itertools
import math
import random
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.frame.params_reader import Name, Section


class Range(Section):
    """Numbers between two ends, uniform or uniform in their logarithm;
    whole ones if both ends are.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ends_in_order(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 on a logarithmic scale")
        return self

    def sample(self, generator: random.Random) -> int | float:
        """Draw a number between the ends, uniformly or in the logarithm."""
        if self.log:
            value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = generator.uniform(self.low, self.high)
        return round(value) if isinstance(self.low, int) and isinstance(self.high, int) else value


class Grid(Section):
    """Every combination of the listed values, once."""

    name: Literal["grid"]


class Random(Section):
    """Combinations at random."""

    name: Literal["random"]
    samples: int = Field(ge=1)


class Halving(Section):
    """Successive halving (Jamieson & Talwalkar 2016): many with a small budget,
    the best of them with a larger one.

    Attributes:
        samples: combinations of the first round, at random.
        budget: dotted key that is multiplied, ``seq2seq.common.updates``.
        smallest: its value in the first round.
        factor: η; of each round one in so many goes on, with so many times the budget.
    """

    name: Literal["halving"]
    samples: int = Field(ge=2)
    budget: str
    smallest: int = Field(ge=1)
    factor: int = Field(ge=2)

    def rounds(self) -> list[tuple[int, int]]:
        """Number of experiments and budget of each round."""
        found, left, budget = [], self.samples, self.smallest
        while True:
            found.append((left, budget))
            if left < self.factor:
                return found
            left, budget = left // self.factor, budget * self.factor


class Sweep(Section):
    """A sweep.

    Attributes:
        name: of the W&B group, the branches and the folder of its results.
        method: how combinations are chosen.
        space: dotted key of params.yaml → values to try, or a range.
        target: a score, ``bleu.transformer`` or ``mlm``: dotted key in data/report/scores.json.
        goal: which values of the target are good.
        seed: of random combinations.
        recipes: laid over params.yaml in all experiments.
    """

    name: Name
    method: Annotated[Grid | Random | Halving, Field(discriminator="name")]
    space: dict[str, list[Any] | Range] = Field(min_length=1)
    target: str
    goal: Literal["maximize", "minimize"] = "maximize"
    seed: int = 1
    recipes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _makes_sense(self) -> "Sweep":
        ranges = [key for key, values in self.space.items() if isinstance(values, Range)]
        if isinstance(self.method, Grid) and ranges:
            raise ValueError(f"space.{ranges[0]} (a range) must be a list of values in a grid")
        if re.search(r"-r\d+$", self.name):
            raise ValueError(
                f"name ({self.name}) must not end as a round of halving does; rename it"
            )
        if empty := [key for key, values in self.space.items() if values == []]:
            raise ValueError(f"space.{empty[0]} ([]) must have values")
        return self

    def combinations(self) -> list[dict[str, Any]]:
        """Dotted key → value of each experiment, of the first round; the same for the same seed."""
        if isinstance(self.method, Grid):
            lists = [values for values in self.space.values() if isinstance(values, list)]
            return [
                dict(zip(self.space, chosen, strict=True)) for chosen in itertools.product(*lists)
            ]
        generator = random.Random(self.seed)
        return [
            {
                key: values.sample(generator)
                if isinstance(values, Range)
                else generator.choice(values)
                for key, values in self.space.items()
            }
            for _ in range(self.method.samples)
        ]


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` → ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, last = key.split(".")
        inner = result
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return result
