"""Names of the columns and of the groups, and what becomes of them in a file."""

import hashlib
import re
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import first_few, repeated, suggest
from radon_numpyro.data.design import INTERCEPT, Design


@dataclass(frozen=True)
class Labels:
    """The names that go with the numbers; hashable.

    Parameters
    ----------
    outcome
        Name of the outcome.
    predictors
        Names of the predictors, in the order of the columns of `GroupedData.x`: those whose slopes
        vary by group, then the others.
    group
        Name of the grouping, for example ``"county"``.
    groups
        Labels of the C groups as they came; ``groups[c]`` belongs to code c.
    design
        Which columns vary by group and which have a coefficient for all groups. Default: the
        intercept and all predictors do both.
    """

    outcome: str
    predictors: tuple[str, ...]
    group: str
    groups: tuple[Hashable, ...]
    design: Design = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.design is None:
            object.__setattr__(self, "design", Design.all_varying(self.predictors))

    @property
    def formula(self) -> str:
        """The model in the notation of lme4, such as ``y ~ 1 + x + (1 + x || group)``."""

        def terms(columns: tuple[str, ...]) -> str:
            named = [name for name in columns if name != INTERCEPT]
            return " + ".join(["1" if INTERCEPT in columns else "0", *named])

        bars = [f"({terms(columns)} {bar} {self.group})" for columns, bar in self.design.parts]
        known = f" | se({self.design.se})" if self.design.se else ""
        return f"{self.outcome}{known} ~ {' + '.join([terms(self.design.population), *bars])}"


def as_index(labels: Sequence[Hashable], name: str | None = None) -> pd.Index:
    """Labels as an index of pandas, whose type for text has no room for lone surrogates.

    Parameters
    ----------
    labels
        Labels of any type.
    name
        Name of the index.
    """
    try:
        return pd.Index(labels, tupleize_cols=False, name=name)
    except UnicodeEncodeError:
        return pd.Index(labels, dtype=object, tupleize_cols=False, name=name)


def fingerprint(
    labels: Labels,
    shape: tuple[int, ...],
    centers: Sequence[tuple[str, float]],
    arrays: Iterable[NDArray[Any]],
) -> str:
    """SHA-256 of names, labels and numbers, the same in every process and on every platform.

    A label counts by its type and its ``repr``.

    Parameters
    ----------
    labels
        The names.
    shape
        Shape of the predictors, or of their means.
    centers
        Pairs (predictor, value). Data without any keep the fingerprint that they had before there
        were centres.
    arrays
        The numbers, little-endian.

    Returns
    -------
    64 hexadecimal digits.
    """
    groups = [(type(label).__name__, label) for label in labels.groups]
    names: tuple[Any, ...] = (labels.outcome, labels.predictors, labels.group, groups)
    if not labels.design.varies_throughout:
        names += (labels.design.population, labels.design.varying)
    if labels.design.correlated:
        names += (labels.design.correlated,)
    if labels.design.weighted:
        names += (("weights", labels.design.weights), ("se", labels.design.se))
    digest = hashlib.sha256(ascii((names, shape, *([centers] if centers else []))).encode())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def find_groups(groups: Hashable | Iterable[Hashable], labels: Labels) -> list[int]:
    """Codes of groups by their labels.

    Parameters
    ----------
    groups
        Labels of the groups. A str, or anything else that is not iterable, is one label.
    labels
        All labels.

    Raises
    ------
    ValueError
        No label, an unknown label, or a label given twice.
    """
    if isinstance(groups, str) or not isinstance(groups, Iterable):
        groups = (groups,)
    wanted = tuple(groups)
    if not wanted:
        raise ValueError("Expected groups to have at least one label; got none")
    code = {label: c for c, label in enumerate(labels.groups)}
    for label in wanted:
        if label not in code:
            hint = suggest(label, code)
            raise ValueError(
                f"Expected groups to be labels of {labels.group!r}; got {label!r} ({hint})"
            )
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"Expected groups to be distinct; got {repeated(wanted)} repeated")
    return [code[label] for label in wanted]


def stored(labels: Sequence[Hashable]) -> NDArray[Any]:
    r"""Labels as netCDF can keep them: integers or text as they are, anything else as text.

    What UTF-8 has no bytes for, or netCDF takes for the end of a text, is written as Python does:
    ``"\\x00"`` in four characters.

    Parameters
    ----------
    labels
        Labels of any type.

    Returns
    -------
    An int64 array if all are integers that fit, else one of str.
    """
    if all(isinstance(g, int) and not isinstance(g, bool) and abs(g) < 2**63 for g in labels):
        return np.array(labels, dtype=np.int64)
    return np.array([_text(g) for g in labels], dtype=str)


def _text(label: Hashable) -> str:
    readable = str(label).encode("utf-8", "backslashreplace").decode("utf-8")
    return readable.replace("\0", "\\x00")


def match(labels: Iterable[Hashable], groups: Sequence[Hashable]) -> NDArray[np.int64]:
    """Find labels among groups whose own labels may have become text since.

    They are compared as text, so that 27 is "27", and whole numbers of any type are equal, so
    that 27 is 27.0 and "27.0": an integer column with a gap in it is one of floats in pandas, and
    is written so. "027" is another label.

    Parameters
    ----------
    labels
        What to look for.
    groups
        Labels of the C groups, from :func:`stored`.

    Returns
    -------
    Code of the group of each label, -1 where there is none.

    Raises
    ------
    ValueError
        A label belongs to two groups, whose labels differed in type alone.
    """
    codes: dict[str, int] = {}
    twice = set()
    for code, group in enumerate(groups):
        if codes.setdefault(str(group), code) != code:
            twice.add(str(group))
    found = []
    for label in labels:
        text = next((text for text in _spellings(label) if text in codes), None)
        if text in twice:
            raise ValueError(
                f"Expected labels of groups that differ as text; got {first_few([label])} for "
                "more than one"
            )
        found.append(-1 if text is None else codes[text])
    return np.array(found, dtype=np.int64)


def _spellings(label: Hashable) -> Iterator[str]:
    yield _text(label)
    if isinstance(label, float) and label.is_integer():
        yield str(int(label))
    elif isinstance(label, int):
        yield str(float(label))
    elif isinstance(label, str) and (whole := _WHOLE.fullmatch(label)):
        # A table that had a blank among whole numbers was written with 1.0 for 1.
        yield whole[1]
        yield f"{whole[1]}.0"


_WHOLE = re.compile(r"(0|-?[1-9]\d*)(?:\.0)?")


def folded(label: Hashable) -> str:
    """A label without case, white space, invisible characters and Unicode form.

    A number is written in the shortest way: ``1`` for ``01`` and ``1.0``.

    Parameters
    ----------
    label
        The label.
    """
    text = unicodedata.normalize("NFKC", str(label)).casefold()
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cf")
    if not _NUMBER.fullmatch(text):
        return text
    whole, _, decimals = text.removeprefix("+").partition(".")
    sign = "-" * whole.startswith("-")
    shortest = f"{whole.removeprefix('-').lstrip('0') or '0'}.{decimals.rstrip('0')}".rstrip(".")
    return "0" if shortest == "0" else sign + shortest


def check_spellings(unknown: Sequence[Hashable], labels: Labels) -> None:
    """Refuse new labels that are known ones in another spelling.

    Parameters
    ----------
    unknown
        Labels that are not among those of the fit.
    labels
        The names of the fit.

    Raises
    ------
    ValueError
        One differs from a known label only as `folded` leaves out.
    """
    known = {folded(label): label for label in labels.groups} if unknown else {}
    alike = [
        f"{name!r} (close: {known[folded(name)]!r})" for name in unknown if folded(name) in known
    ]
    if alike:
        shown = [*alike[:3], *["..."] * (len(alike) > 3)]
        raise ValueError(
            f"Expected new labels of {labels.group!r} to differ from known ones by more than case, "
            f"blanks or the spelling of a number; got {'; '.join(shown)}: write them as the fit "
            "has them, or rename groups that are new"
        )


_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
