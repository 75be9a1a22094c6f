"""Names of columns and groups, how files store them, and how they are found again."""

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
    """The names of columns and groups of data; hashable.

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
        Original labels of the C groups; ``groups[c]`` belongs to code c.
    design
        Which columns vary by group, and which have a population coefficient. Default: the intercept
        and all predictors have both.
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
    """Return labels as a pandas index, also for text with lone surrogates.

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
    """Return the SHA-256 hash of names, labels and numbers, the same on every platform.

    Labels are identified by their type and ``repr``.

    Parameters
    ----------
    labels
        The names.
    shape
        Shape of the predictors, or of their means.
    centers
        Pairs (predictor, value). Data without centres have the same fingerprint as in versions that
        had no centres.
    arrays
        The numbers as little-endian arrays.

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
    """Return the codes of groups from their labels.

    Parameters
    ----------
    groups
        Labels of the groups. A str, or anything else that is not iterable, is one label.
    labels
        All labels.

    Raises
    ------
    ValueError
        If there is no label, a label is unknown, or a label is given twice.
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
    r"""Convert labels for netCDF: integers and text are unchanged, other labels become text.

    Characters that UTF-8 cannot encode, and NUL, which ends a text in netCDF, are escaped as in
    Python: ``"\\x00"`` in four characters.

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
    """Find labels among groups whose stored labels may have become text.

    Labels are compared as text, so 27 equals "27". Whole numbers of any type are equal, so 27
    equals 27.0 and "27.0", because pandas makes floats of an integer column with a gap, and writes
    it so. "027" is a different label.

    Parameters
    ----------
    labels
        The labels to find.
    groups
        Labels of the C groups, from :func:`stored`.

    Returns
    -------
    Code of the group of each label, -1 where there is none.

    Raises
    ------
    ValueError
        If a label belongs to two groups whose labels differed only in type.
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
        # A table with a blank among whole numbers may have been written with 1.0 for 1.
        yield whole[1]
        yield f"{whole[1]}.0"


_WHOLE = re.compile(r"(0|-?[1-9]\d*)(?:\.0)?")


def folded(label: Hashable) -> str:
    """Normalise a label: ignore case, white space, invisible characters and Unicode form.

    Numbers get their shortest form: ``1`` for ``01`` and ``1.0``.

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
    """Check that new labels are not different spellings of known labels.

    Parameters
    ----------
    unknown
        Labels that are not in the fit.
    labels
        The names of the fit.

    Raises
    ------
    ValueError
        If a label equals a known label after :func:`folded`.
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
