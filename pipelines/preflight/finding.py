"""One thing a check has found."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """A problem with its remedy.

    Attributes:
        severity: an error keeps the run from starting, a warning does not.
        check: its name.
        message: for people.
    """

    severity: Severity
    check: str
    message: str
