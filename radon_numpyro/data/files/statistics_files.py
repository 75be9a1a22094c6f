"""Read tables from files of Stata, SPSS and SAS; values with labels become categories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
from radon_numpyro.data.files.libraries import reading
from radon_numpyro.data.formulas.categories import level_text
from radon_numpyro.data.frame_columns import CATEGORY, NUMBER

# Programs by the suffixes of their files.
PROGRAMS: Mapping[str, str] = {
    ".dta": "Stata",
    ".sav": "SPSS",
    ".zsav": "SPSS",
    ".por": "SPSS",
    ".sas7bdat": "SAS",
    ".xpt": "SAS",
}
# Suffixes of files that may lack the name of the encoding of their text.
ENCODED = (".sav", ".zsav", ".sas7bdat", ".xpt")
# Names of formats in pyreadstat that differ from the suffix.
_FORMATS = {".zsav": "sav", ".xpt": "xport"}
type Labels = dict[str, dict[Any, str]]


def read_statistics_file(
    source: str, columns: Columns | FormulaColumns, encoding: str | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read columns of a file of a statistics program into memory.

    Parameters
    ----------
    source
        Path of the file.
    columns
        Columns to read.
    encoding
        Encoding of the text in files of SPSS and SAS that do not name it.

    Returns
    -------
    frame, notes
        The columns as numbers, text, dates or categories, and notes on how they were read. A
        column is categorical, with levels in the order of the values, if all its values have
        labels. Columns that must be numeric, such as the outcome, keep their values, and so do
        columns in which only some values have labels. Whole numbers as labels of groups stay
        whole, also if others are missing.

    Raises
    ------
    ValueError
        If the file is not of its program, or lacks a column.
    ImportError
        If pyreadstat is not installed, for files of SPSS and SAS.
    """
    suffix = Path(source).suffix.lower()
    with reading(source, f"a file of {PROGRAMS[suffix]}"):
        if suffix == ".dta":
            frame, labels, notes = _by_pandas(source, columns)
        else:
            frame, labels, notes = _by_pyreadstat(source, suffix, columns, encoding)
    for name in frame:
        column = frame[name]
        if not is_numeric_dtype(column):
            column = column.where(column != "", None)
        if name in labels:
            column, said = _labelled(column, labels[name], columns.kinds.get(name))
            notes += said
        if name == columns.group and is_float_dtype(column) and (column.dropna() % 1 == 0).all():
            whole = column.astype("Int64").astype(object)
            column = whole.where(whole.notna(), None)
        frame[name] = column
    return frame, tuple(notes)


def _by_pandas(
    source: str, columns: Columns | FormulaColumns
) -> tuple[pd.DataFrame, Labels, list[str]]:
    """Read columns of a Stata file, and the labels of their values."""
    with pd.read_stata(source, iterator=True) as reader:
        used = columns.among(list(reader.variable_labels()))
        values = reader.read(columns=used, convert_categoricals=False)
    # Only the conversion to categories shows which labels belong to which column.
    with pd.read_stata(source, iterator=True) as reader:
        shown = reader.read(columns=used, order_categoricals=False)
    labels: Labels = {}
    for name in used:
        if isinstance(shown[name].dtype, pd.CategoricalDtype):
            pairs = zip(values[name].tolist(), shown[name].tolist(), strict=True)
            labels[name] = {code: text for code, text in pairs if isinstance(text, str)}
    return values, labels, []


def _by_pyreadstat(
    source: str, suffix: str, columns: Columns | FormulaColumns, encoding: str | None
) -> tuple[pd.DataFrame, Labels, list[str]]:
    """Read columns of a file of SPSS or SAS, the labels of their values, and notes.

    Values that the file declares as missing become missing values, which a note counts.
    """
    import pyreadstat

    read: Any = getattr(pyreadstat, f"read_{_FORMATS.get(suffix, suffix[1:])}")
    options: dict[str, Any] = {} if encoding is None else {"encoding": encoding}
    try:
        used = columns.among(read(source, metadataonly=True, **options)[1].column_names)
        # Read declared missing values as they are, because a note must name and count them.
        options |= {"user_missing": True} if suffix in (".sav", ".zsav") else {}
        frame, about = read(source, usecols=used, **options)
    except (pyreadstat.ReadstatError, UnicodeDecodeError) as error:
        if isinstance(error, pyreadstat.ReadstatError) and "encoding" not in str(error):
            raise
        raise ValueError(
            f"Expected the text of {source!r} to be in {encoding or 'the encoding that it names'}; "
            "got another: name it, such as --encoding cp1252"
        ) from None
    frame = frame[used].copy()
    labels: Labels = {name: dict(about.variable_value_labels.get(name, {})) for name in used}
    notes = []
    for name in used:
        column, missing = frame[name], np.zeros(len(frame), np.bool_)
        for span in about.missing_ranges.get(name, ()):
            texts = isinstance(span["lo"], str)
            within = column == span["lo"] if texts else column.between(span["lo"], span["hi"])
            missing |= within.to_numpy(np.bool_)
        if missing.any():
            codes = [level_text(code) for code in sorted(column[missing].unique().tolist())]
            rows = plural(int(missing.sum()), "row")
            notes.append(f"{name}: {first_few(codes)} in {rows}: missing values, as the file says")
            frame[name] = column.mask(missing)
    return frame, {name: own for name, own in labels.items() if own}, notes


def _labelled(
    column: pd.Series, labels: Mapping[Any, str], kind: str | None
) -> tuple[pd.Series, list[str]]:
    """Convert a column to categories by the labels of its values, if all values have labels."""
    present = sorted(column.dropna().unique().tolist())
    named = [value for value in present if value in labels]
    if kind != CATEGORY and (kind == NUMBER or len(named) < len(present)):
        if not named:
            return column, []
        how = "numbers" if is_numeric_dtype(column) else "text"
        example = f"{level_text(named[0])} for {labels[named[0]]!r}"
        return column, [
            f"{column.name}: its values are read as {how}, though {len(named)} of {len(present)} "
            f"have labels, such as {example}"
        ]
    texts = [labels.get(value, level_text(value)) for value in present]
    # Values with the same label remain separate levels.
    texts = [
        f"{text} ({level_text(value)})" if texts.count(text) > 1 else text
        for value, text in zip(present, texts, strict=True)
    ]
    codes = pd.Categorical(column, categories=present).codes
    return pd.Series(pd.Categorical.from_codes(codes, texts), column.index, name=column.name), []
