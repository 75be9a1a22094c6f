"""What the names of columns say: ``Sex[Male]`` is a level, ``SES:Sex[Male]`` a product."""

from __future__ import annotations

import re
from collections.abc import Collection


def factors(column: str, columns: Collection[str]) -> tuple[str, ...]:
    """The columns that an interaction is the product of; of any other column itself.

    A colon in a name makes an interaction only if what stands on either side of it are columns too.

    Parameters
    ----------
    column
        Name of a column, such as ``"SES:Sex[Male]"``.
    columns
        Names of all columns.
    """
    found = _parts(column)
    return found if len(found) > 1 and set(found) <= set(columns) else (column,)


def level(column: str) -> tuple[str, str] | None:
    """Variable and level of a name such as ``"Sex[Male]"``; None of any other.

    Whether the column is that of a category its values say, which are 0 and 1.

    Parameters
    ----------
    column
        Name of a column.
    """
    found = re.fullmatch(r"(.+?)\[(.+)\]", column, re.DOTALL)
    # A cell of a table, c[a]:Sex[Male], is a level of neither.
    return (found[1], found[2]) if found and len(_parts(column)) == 1 else None


def _parts(column: str) -> tuple[str, ...]:
    """What stands between the colons outside of brackets."""
    parts, depth = [""], 0
    for letter in column:
        depth += (letter in "[(") - (letter in "])")
        if letter == ":" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(parts)
