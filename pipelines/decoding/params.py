"""The sections ``decoding`` and ``ensembles``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.frame.params_reader import Section


class Beam(Section):
    """The likeliest continuations (`pipelines.decoding.selection.Likeliest`)."""

    name: Literal["beam"]


class DiverseBeam(Section):
    """Groups that pay for each other's tokens; see `pipelines.decoding.selection.Diverse`."""

    name: Literal["diverse"]
    groups: int = Field(ge=2)
    penalty: float = Field(ge=0)


class Sampling(Section):
    """Random continuations; see `pipelines.decoding.selection.Sampled`."""

    name: Literal["sampling"]
    temperature: float = Field(gt=0)
    top_k: int = Field(ge=0)
    top_p: float = Field(gt=0, le=1)


class Score(Section):
    """What ranks finished hypotheses; see `pipelines.decoding.length_penalty.LengthPenalty`."""

    name: Literal["average", "gnmt", "reward"]
    strength: float
    end_counts: bool
    coverage: float = Field(ge=0)

    @model_validator(mode="after")
    def _exponent_is_positive(self) -> "Score":
        if self.name != "reward" and self.strength < 0:
            raise ValueError(
                f"strength ({self.strength}) must be at least 0 for {self.name}; it is an exponent"
            )
        return self


class StopRule(Section):
    """When a sentence is done; see `pipelines.decoding.options.Stop`."""

    rule: Literal["exact", "finished", "likely", "never"]
    patience: float = Field(gt=0)

    @model_validator(mode="after")
    def _likely_waits_for_a_beam(self) -> "StopRule":
        if self.rule == "likely" and self.patience < 1:
            raise ValueError(
                f"patience ({self.patience}) must be at least 1 for likely; it compares with a "
                "whole beam"
            )
        return self


class DecodingParams(Section):
    """How hypotheses are searched.

    Attributes:
        curve: beam sizes that are searched besides, for the curve.
        num_best: hypotheses kept per sentence.
        no_repeat: no so many tokens in a row occur twice; 0: they may.
        rerank: ``mbr``: of a sentence's hypotheses the one most like the others comes first
            (`pipelines.decoding.mbr`).
        batch_tokens: source tokens of a batch, padding included; a GPU takes up to 16 batches at
            once.
        precision: of the products; int8 on a CPU alone, bfloat16 of everything but scores.
    """

    strategy: Annotated[Beam | DiverseBeam | Sampling, Field(discriminator="name")]
    beam_size: int = Field(ge=1)
    curve: list[Annotated[int, Field(ge=1)]]
    num_best: int = Field(ge=1)
    min_length: int = Field(ge=0)
    max_length: int = Field(ge=1)
    no_repeat: int = Field(ge=0)
    score: Score
    stop: StopRule
    rerank: Literal["none", "mbr"]
    batch_tokens: int = Field(ge=1)
    precision: Literal["float32", "bfloat16", "int8"]

    @model_validator(mode="after")
    def _sizes_fit(self) -> "DecodingParams":
        if self.num_best > self.beam_size:
            raise ValueError(
                f"num_best ({self.num_best}) must not exceed beam_size ({self.beam_size}); lower "
                f"it too, with dvc exp run: -S decoding.num_best={self.beam_size}"
            )
        if self.min_length > self.max_length:
            raise ValueError(
                f"min_length ({self.min_length}) must not exceed max_length ({self.max_length})"
            )
        if isinstance(self.strategy, DiverseBeam) and self.beam_size % self.strategy.groups:
            raise ValueError(
                f"groups ({self.strategy.groups}) must divide beam_size ({self.beam_size})"
            )
        if sorted(set(self.curve)) != self.curve:
            raise ValueError(f"curve ({self.curve}) must rise; name each beam size once")
        return self
