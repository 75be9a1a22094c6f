"""The command line: ``radon-numpyro audit``, ``fit``, ``compare``, ``predict``, ``report``, ...

Only the commands print, and only they set caches. Exit status: 0 success; 2 bad input or usage; 3
finished, but the result is not to be trusted; 130 interrupted.
"""

from __future__ import annotations

from typing import Annotated

import typer

from radon_numpyro.cli.commands_compare import compare_command
from radon_numpyro.cli.commands_data import audit_command, fit_command, resume_command
from radon_numpyro.cli.commands_fit import predict_command, report_command
from radon_numpyro.cli.commands_self import doctor_command, reproduce_command
from radon_numpyro.cli.terminal import GOOD

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Bayesian linear mixed models in NumPyro.",
    epilog=(
        "Example: `radon-numpyro fit radon.csv --y radon --x floor --group county`\n\n"
        "Or: `radon-numpyro report results/fit.nc --out report.html`\n\n"
        "Exit status: 0 success, 2 bad input or usage, 3 finished but not to be trusted."
    ),
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"radon-numpyro {version('radon-numpyro')}")
        raise typer.Exit(GOOD)


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options before the name of a command."""


app.command(name="audit")(audit_command)
app.command(name="fit")(fit_command)
app.command(name="resume")(resume_command)
app.command(name="compare")(compare_command)
app.command(name="predict")(predict_command)
app.command(name="report")(report_command)
app.command(name="doctor")(doctor_command)
app.command(name="reproduce")(reproduce_command)
