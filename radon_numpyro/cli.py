"""The command line: the only place that prints and that sets caches."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from radon_numpyro.tutorial import Reproduction

GOOD, BAD_INPUT, NOT_TRUSTED = 0, 2, 3

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hierarchical linear regression of grouped data in NumPyro.",
)


@app.callback()
def main() -> None:
    """Keep the name of a command necessary while there is only one."""


@app.command(name="reproduce")
def reproduce_command(
    out: Annotated[Path, typer.Option(help="Folder for figures, fits and summary.json.")] = Path(
        "results"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    draws: Annotated[int, typer.Option(min=100, help="Draws kept of each chain.")] = 2000,
    chains: Annotated[int, typer.Option(min=2, help="Chains.")] = 4,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few draws and folds: to see that it runs.")
    ] = False,
) -> None:
    """Run the radon tutorial end to end.

    Fits both models of the PyMC3 tutorial "GLM: Hierarchical Linear Regression with ADVI",
    prints its conclusions and whether each holds, and writes figures, hierarchical.nc,
    individual.nc and summary.json. Exit status: 0 good, 2 bad usage, 3 finished, but the draws
    are not to be trusted.

    Example: radon-numpyro reproduce --out figures --seed 1
    """
    console = Console()
    _check_writable(out)
    _use_compilation_cache()
    started = time.perf_counter()
    from radon_numpyro.tutorial import reproduce

    if quick:
        draws = min(draws, 500)
    result = reproduce(
        draws=draws,
        chains=chains,
        seed=seed,
        folds=3 if quick else 10,
        progress_bar=console.is_terminal,
    )
    _print_reproduction(console, result)
    for path in result.save(out):
        console.print(f"wrote {path}", highlight=False)
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    raise typer.Exit(GOOD if result.ok else NOT_TRUSTED)


def _print_reproduction(console: Console, result: Reproduction) -> None:
    conclusions = Table(title="What the tutorial concludes", show_lines=True)
    for heading in ("tutorial", "found", "holds"):
        conclusions.add_column(heading, overflow="fold")
    for c in result.conclusions:
        conclusions.add_row(
            escape(c.claim), escape(c.found), "[green]yes" if c.holds else "[red]no"
        )
    console.print(conclusions)
    console.print(_table("Population parameters, NUTS beside ADVI", result.parameters))
    console.print(_table("Root mean square deviation by definition", result.rmsd))
    columns = ["elpd_loo", "elpd_diff", "elpd_diff_se", "rmsd_kfold", "rmsd_kfold_se", "rows_loo"]
    table = result.comparison.table[[*columns, "rows_from_prior"]]
    console.print(_table("Left-out houses that every model can predict", table))
    for name, diagnosis in result.diagnoses.items():
        console.print(f"[bold]{name}[/bold]")
        console.print(str(diagnosis), markup=False, highlight=False)


def _table(title: str, frame: pd.DataFrame) -> Table:
    table = Table(title=title)
    table.add_column("")
    for column in frame.columns:
        table.add_column(str(column), justify="right")
    for name, values in frame.iterrows():
        # Labels such as mu_beta[floor] would be read as markup.
        table.add_row(escape(str(name)), *(_number(v) for v in values))
    return table


def _number(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written before any work is done."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise typer.BadParameter(f"Expected --out to be a folder that can be written; got {folder}")


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs, where the user's cache folder can be written."""
    import jax

    if jax.config.jax_compilation_cache_dir:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(base / "radon-numpyro" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
