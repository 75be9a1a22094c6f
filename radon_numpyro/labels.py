"""Names of the columns and of the groups."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Labels:
    """The names that go with the numbers; hashable.

    Parameters
    ----------
    outcome
        Name of the outcome.
    predictors
        Names of the K predictors, in the order of the columns of `GroupedData.x`.
    group
        Name of the grouping, for example ``"county"``.
    groups
        Labels of the C groups as they came; ``groups[c]`` belongs to code c.
    """

    outcome: str
    predictors: tuple[str, ...]
    group: str
    groups: tuple[Hashable, ...]
