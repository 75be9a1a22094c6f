"""Numbers as people write them: decimal comma, thousands, signs of currencies, typographic minus.

What single fields leave open the columns decide together: ``1,399`` beside ``3,13`` has a decimal
comma, beside ``3.13`` it is one thousand and more. What they leave open too is refused.
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
# Digits with points and commas in them, whatever they mean.
LIKE_NUMBER = re.compile(r"[+-]?(?:[0-9][0-9.,]*|[.,][0-9]+)" + _EXPONENT)


@dataclass(frozen=True)
class Notation:
    """How the numbers of a table are written.

    Attributes
    ----------
    decimal, thousands
        What stands before the decimals, and between thousands.
    """

    decimal: str = "."
    thousands: str = ","

    def number(self, text: str) -> float:
        """A number from its text; NaN if it is none in this notation.

        Parameters
        ----------
        text
            The text, without blanks around.
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
        """Numbers of a column of text, NaN where there is none, and what to know of them.

        Parameters
        ----------
        column
            Fields, missing where there is nothing.
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
            # What Python takes for a number, infinity too.
            whole = plain.where(plain.notna(), column.map(values))
        else:
            whole = column.map(values)
        return pd.to_numeric(whole, errors="coerce"), tuple(notes) if whole.notna().any() else ()


PLAIN = Notation()


def _bare(text: str) -> str:
    """A number without signs of currencies, with a plain minus, and no blanks for thousands."""
    text = _MINUS.sub(r"\1-", text.strip())
    text = _CURRENCY.sub(r"\1", text).strip()
    if text[:1] == "-" and text[1:2] in CURRENCIES:
        text = "-" + text[2:]
    return _GAPS.sub("", text) if _GROUPED.fullmatch(text) else text


def looks_numeric(column: pd.Series) -> float:
    """Share of fields that are digits with points, commas or signs of numbers.

    Parameters
    ----------
    column
        Fields, missing where there is nothing.
    """
    counts = column.value_counts()
    like = [bool(LIKE_NUMBER.fullmatch(_bare(str(t).rstrip("% ")))) for t in counts.index]
    return float(counts[like].sum() / max(counts.sum(), 1))


def find_notation(
    columns: Mapping[str, pd.Series], options: TextOptions
) -> tuple[Notation, tuple[str, ...]]:
    """How the numbers of a table are written, by all columns of numbers together.

    Parameters
    ----------
    columns
        Columns of text that hold numbers, by name.
    options
        What is said about them.

    Raises
    ------
    ValueError
        Some numbers are written one way and some another, or all may be read in two ways.
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
    """The decimal sign that a number shows by its digits; empty if it may have either."""
    digits = re.sub(r"[eE].*", "", bare.lstrip("+-"))
    for decimal, thousands in ((".", ","), (",", ".")):
        t = re.escape(thousands)
        # Thousands twice, or thousands before decimals.
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
