"""Read numbers with decimal comma, thousands separators, currency signs or typographic minus.

A single field can be ambiguous: ``1,399`` has a decimal comma in a table with ``3,13``, and a
thousands separator in a table with ``3.13``. All columns of numbers together determine the
notation of a table; if they do not, an error is raised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from radon_numpyro.data.files.text_layout import TextOptions
from radon_numpyro.data.missing import BLANKS

ERRORS = ("#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!")
CURRENCIES = "$€£¥₹"
_MINUS = re.compile("^([" + CURRENCIES + "]?)[\u2212\u2013](?=[" + CURRENCIES + r"]?\s*[0-9.,])")
_CURRENCY = re.compile(f"^([+-]?)[{CURRENCIES}]\\s*|\\s*[{CURRENCIES}]$")
_GROUPED = re.compile("[+-]?[0-9]{1,3}(?:[ '\u2019\u00a0\u2009\u202f][0-9]{3})+(?![0-9]).*")
_GAPS = re.compile("[ '\u2019\u00a0\u2009\u202f]")
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
# Digits with points and commas, before the meaning of the points and commas is known.
LIKE_NUMBER = re.compile(r"[+-]?(?:[0-9][0-9.,]*|[.,][0-9]+)" + _EXPONENT)


@dataclass(frozen=True)
class Notation:
    """Notation of the numbers of a table.

    Attributes
    ----------
    decimal, thousands
        Decimal separator, and thousands separator.
    """

    decimal: str = "."
    thousands: str = ","

    def number(self, text: str) -> float:
        """Return the number that a text means in this notation, else NaN.

        Parameters
        ----------
        text
            The text, without blanks at its ends.
        """
        bare = _bare(text.rstrip("%").rstrip())
        d, t = re.escape(self.decimal), re.escape(self.thousands)
        if not re.fullmatch(
            rf"[+-]?(?:(?:[0-9]{{1,3}}(?:{t}[0-9]{{3}})+|[0-9]+)(?:{d}[0-9]*)?|{d}[0-9]+){_EXPONENT}",
            bare,
        ):
            return float("nan")
        return float(bare.replace(self.thousands, "").replace(self.decimal, "."))

    def read(self, column: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
        """Return the numbers of a column of text, NaN where there is none, and notes on them.

        Parameters
        ----------
        column
            The fields; empty fields are missing values.
        """
        plain = pd.to_numeric(column, errors="coerce")
        texts = [t for t in column.dropna().unique() if isinstance(t, str)]
        if self.decimal == "." and plain.notna().sum() == column.notna().sum():
            return plain, ()
        grouped = [text for text in texts if _GROUPED.fullmatch(text.strip())]
        signs = sorted({c for text in texts for c in text if c in CURRENCIES})
        percent = [text for text in texts if text.rstrip().endswith("%")]
        notes: list[str] = []
        odd = [*signs, *["%"][: len(percent)]]
        if odd and (len(odd) > 1 or sum(odd[0] in text for text in texts) < len(texts)):
            if looks_numeric(column) > 0.5:
                raise ValueError(
                    f"Expected column {column.name!r} to be in one unit; got numbers with and "
                    f"without {', '.join(odd)}: leave the signs out, in one unit"
                )
            texts = [text for text in texts if not any(sign in text for sign in odd)]
        elif signs:
            notes.append(f"{column.name}: the sign {signs[0]} is left out")
        elif percent:
            notes.append(
                f"{column.name}: read in percent, {percent[0]!r} as {percent[0].strip(' %')}"
            )
        if grouped:
            notes.append(
                f"{column.name}: {grouped[0]!r} is read as {self.number(grouped[0].strip())}"
            )
        values = {text: self.number(text.strip()) for text in texts}
        if self.decimal == ".":
            # Fields that Python reads as numbers, including infinity, keep that value.
            whole = plain.where(plain.notna(), column.map(values))
        else:
            whole = column.map(values)
        return pd.to_numeric(whole, errors="coerce"), tuple(notes) if whole.notna().any() else ()


PLAIN = Notation()


def _bare(text: str) -> str:
    """Return a text without currency signs and blanks between thousands, with an ASCII minus."""
    text = _MINUS.sub(r"\1-", text.strip())
    text = _CURRENCY.sub(r"\1", text).strip()
    if text[:1] == "-" and text[1:2] in CURRENCIES:
        text = "-" + text[2:]
    return _GAPS.sub("", text) if _GROUPED.fullmatch(text) else text


def looks_numeric(column: pd.Series) -> float:
    """Return the share of fields that look like numbers, in any notation.

    Parameters
    ----------
    column
        The fields; empty fields are missing values.
    """
    counts = column.value_counts()
    like = [bool(LIKE_NUMBER.fullmatch(_bare(str(t).rstrip("% ")))) for t in counts.index]
    return float(counts[like].sum() / max(counts.sum(), 1))


def find_notation(
    columns: Mapping[str, pd.Series], options: TextOptions
) -> tuple[Notation, tuple[str, ...]]:
    """Determine the notation of the numbers of a table from all its columns of numbers.

    Parameters
    ----------
    columns
        Columns of text that hold numbers, by name.
    options
        Options of the table, which may give the separators.

    Raises
    ------
    ValueError
        If numbers are written in different notations, or all can be read in two ways.
    """
    if options.decimal or options.thousands:
        decimal = options.decimal or ("," if options.thousands == "." else ".")
        thousands = options.thousands or ("." if decimal == "," else ",")
        return Notation(decimal, thousands), ()
    comma: list[str] = []
    point: list[str] = []
    either: list[str] = []
    for name, column in columns.items():
        for text in column.dropna().unique():
            if text in BLANKS:
                continue
            bare = _bare(text.rstrip("% "))
            if not LIKE_NUMBER.fullmatch(bare) or not ("," in bare or "." in bare):
                continue
            says = _decimal_of(bare)
            if not says and "," not in bare:
                continue
            {"": either, ",": comma, ".": point}[says].append(f"{text!r} in {name!r}")
    if comma and point:
        raise ValueError(
            f"Expected one way to write numbers; got {comma[0]}, with a decimal comma, and "
            f"{point[0]}, with a point: correct the file, or name the decimals by --decimal"
        )
    if either and not comma and not point:
        raise ValueError(
            f"Expected numbers that can be read in one way; got {either[0]}, which may have a "
            "decimal comma (--decimal ,) or one between thousands (--thousands ,)"
        )
    if comma:
        return Notation(",", "."), (f"Numbers are read with a decimal comma, as {comma[0]}",)
    if either or any("," in text.partition("' in ")[0] for text in point):
        shown = either[0] if either else next(t for t in point if "," in t.partition("' in ")[0])
        return PLAIN, (f"Commas in numbers are read as between thousands, as {shown}",)
    return PLAIN, ()


def _decimal_of(bare: str) -> str:
    """Return the decimal separator that the digits of a number imply; empty if ambiguous."""
    digits = re.sub(r"[eE].*", "", bare.lstrip("+-"))
    for decimal, thousands in ((".", ","), (",", ".")):
        t = re.escape(thousands)
        # Two or more thousands separators, or one before a decimal separator.
        if re.fullmatch(rf"[0-9]{{1,3}}(?:{t}[0-9]{{3}}){{2,}}", digits) or re.fullmatch(
            rf"[0-9]{{1,3}}(?:{t}[0-9]{{3}})+{re.escape(decimal)}[0-9]*", digits
        ):
            return decimal
    for decimal in ".,":
        if digits.count(decimal) == 1 and len(digits) - 1 == sum(c.isdigit() for c in digits):
            before, _, after = digits.partition(decimal)
            if len(after) != 3 or not 1 <= len(before) <= 3 or before[0] == "0":
                return decimal
    return ""
