"""Options that say how a table of text or a sheet is written, where the file leaves it open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radon_numpyro.data.files.text_layout import TextOptions

_PANEL = "Text files and spreadsheets"
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="What parts the fields; a blank stands for any number of them. Default: found in the "
        "file.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        help="What stands before decimals: a point or a comma. Default: found in the file.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Thousands = Annotated[
    str | None,
    typer.Option(
        help="What stands between thousands. Default: found in the file.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="Encoding, such as cp1252. Default: UTF-8, or UTF-16 by its first bytes, or what is "
        "found in the file.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
SkipRows = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Lines above the names of the columns. Default: as many as stand above them.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Sheet = Annotated[
    str | None,
    typer.Option(
        help="Name of the sheet of a spreadsheet. Default: the only one with something in it.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


def text_options(
    delimiter: str | None,
    decimal: str | None,
    thousands: str | None,
    encoding: str | None,
    skip_rows: int | None,
    sheet: str | None,
) -> TextOptions:
    r"""How a table of text or a sheet is written, as options have it.

    Parameters
    ----------
    delimiter, decimal, thousands, encoding, skip_rows, sheet
        The options; a delimiter may be given as ``\t``, as shells write a tab.

    Raises
    ------
    ValueError
        One of them is out of range.
    """
    from radon_numpyro.data.files.text_layout import TextOptions

    return TextOptions(
        "\t" if delimiter == r"\t" else delimiter, decimal, thousands, encoding, skip_rows, sheet
    )
