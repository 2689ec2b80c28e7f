"""The ``report`` section."""

from pydantic import Field

from pipelines.sections import Section


class ReportParams(Section):
    """What the report shows."""

    num_samples: int = Field(ge=0)
