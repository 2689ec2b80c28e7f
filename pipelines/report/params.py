"""Section ``report``: what the report shows."""

from pydantic import Field

from pipelines.frame.params_reader import Section


class ReportParams(Section):
    """What the report shows."""

    num_samples: int = Field(ge=0)
