"""One block of section ``ensembles``."""

from pydantic import Field, model_validator

from pipelines.frame.params_reader import Section


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
