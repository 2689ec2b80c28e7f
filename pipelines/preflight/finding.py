"""One thing a check has found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """A problem with its remedy.

    Attributes:
        severity: an error keeps the run from starting, a warning does not.
        check: its name.
        message: for people.
    """

    severity: Literal["error", "warning"]
    check: str
    message: str
