"""The sections ``decoding`` and ``ensembles``."""

from pydantic import Field, model_validator

from pipelines.sections import Section


class DecodingParams(Section):
    """How hypotheses are searched."""

    beam_size: int = Field(ge=1)
    length_penalty: float = Field(ge=0)
    max_length: int = Field(ge=1)
    num_best: int = Field(ge=1)
    batch_size: int = Field(ge=1)

    @model_validator(mode="after")
    def _enough_beams(self) -> "DecodingParams":
        if self.num_best > self.beam_size:
            raise ValueError(f"num_best ({self.num_best}) must not exceed beam_size ({self.beam_size})")
        return self


class EnsembleParams(Section):
    """Models searched as one.

    Attributes:
        members: architectures, each once.
    """

    members: list[str] = Field(min_length=2)

    @model_validator(mode="after")
    def _each_once(self) -> "EnsembleParams":
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members ({', '.join(self.members)}) must differ; name each once")
        return self
