"""What a check reports: what was seen, and what to try."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to try.

    Attributes
    ----------
    what
        What was seen, with numbers and names.
    advice
        What to try.
    """

    what: str
    advice: str
