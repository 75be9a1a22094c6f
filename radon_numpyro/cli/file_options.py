"""Options for the format of text tables and spreadsheets, if it cannot be detected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radon_numpyro.data.files.text_layout import TextOptions

_PANEL = "Text files and spreadsheets"
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="The character between fields; a blank matches any number of blanks. Default: "
        "detected.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        help="The decimal sign: a point or a comma. Default: detected.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Thousands = Annotated[
    str | None,
    typer.Option(
        help="The separator of thousands. Default: detected.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="The encoding, such as cp1252. Default: UTF-8, UTF-16 if the first bytes show it, or "
        "detected.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
SkipRows = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Number of lines above the names of the columns. Default: detected.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Sheet = Annotated[
    str | None,
    typer.Option(
        help="Name of a sheet of a spreadsheet. Default: the only sheet that is not empty.",
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
    r"""Return the format of a text table or a sheet from the options of a command.

    Parameters
    ----------
    delimiter, decimal, thousands, encoding, skip_rows, sheet
        The options. The delimiter ``\t`` (backslash and t) means a tab.

    Raises
    ------
    ValueError
        If an option is out of range.
    """
    from radon_numpyro.data.files.text_layout import TextOptions

    return TextOptions(
        "\t" if delimiter == r"\t" else delimiter, decimal, thousands, encoding, skip_rows, sheet
    )
