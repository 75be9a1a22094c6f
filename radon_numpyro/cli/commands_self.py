"""The commands doctor and reproduce, which need no file."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from radon_numpyro.cli.options import (
    AsJSON,
    Quiet,
    Seed,
)
from radon_numpyro.cli.terminal import (
    GOOD,
    NOT_TRUSTED,
    Terminal,
    refusals,
    table,
    use_compilation_cache,
)
from radon_numpyro.data.files.whole_files import check_writable

if TYPE_CHECKING:
    from radon_numpyro.tutorial.reproduction import Reproduction


def doctor_command(quiet: Quiet = False, as_json: AsJSON = False) -> None:
    """Check this installation.

    Shows versions, devices and the cache of compiled programs, and compares one small fit with its
    exact posterior. Exit status 3 if something is wrong.

    Example: `radon-numpyro doctor`

    Or: `radon-numpyro doctor --json`
    """
    from radon_numpyro.cli.doctor import examine

    terminal = Terminal(quiet, as_json)
    cache = use_compilation_cache()
    found = examine(cache)
    terminal.show(str(found))
    record = {"facts": found.facts, "findings": [asdict(finding) for finding in found.findings]}
    terminal.finish(record, good=found.ok)


def reproduce_command(
    out: Annotated[Path, typer.Option(help="Folder for figures, fits and summary.json.")] = Path(
        "results"
    ),
    seed: Seed = 0,
    draws: Annotated[int, typer.Option(min=100, help="Draws kept from each chain.")] = 2000,
    chains: Annotated[int, typer.Option(min=2, help="Number of chains.")] = 4,
    quick: Annotated[
        bool, typer.Option("--quick", help="Use few draws and folds, to see that it runs.")
    ] = False,
) -> None:
    """Run the radon tutorial end to end.

    Fits both models of the PyMC3 tutorial "GLM: Hierarchical Linear Regression with ADVI",
    prints its conclusions and whether each holds, and writes figures, hierarchical.nc,
    individual.nc and summary.json. Exit status 3 if the draws are not to be trusted.

    Example: `radon-numpyro reproduce --out figures --seed 1`

    Or: `radon-numpyro reproduce --quick`
    """
    terminal = Terminal()
    with refusals():
        check_writable(out / "summary.json")
    use_compilation_cache()
    started = time.perf_counter()
    from radon_numpyro.tutorial.reproduction import reproduce

    with terminal.working("Fitted and scored"):
        result = reproduce(
            draws=min(draws, 500) if quick else draws,
            chains=chains,
            seed=seed,
            folds=3 if quick else 10,
            progress_bar=terminal.progress_bar,
        )
    _show_reproduction(terminal, result)
    with refusals():
        for path in result.save(out):
            terminal.show(f"wrote {path}")
    terminal.show(f"{time.perf_counter() - started:.0f} s in all")
    raise typer.Exit(GOOD if result.ok else NOT_TRUSTED)


def _show_reproduction(terminal: Terminal, result: Reproduction) -> None:
    conclusions = Table(title="What the tutorial concludes", show_lines=True)
    for heading in ("tutorial", "found", "holds"):
        conclusions.add_column(heading, overflow="fold")
    for c in result.conclusions:
        conclusions.add_row(
            escape(c.claim), escape(c.found), "[green]yes" if c.holds else "[red]no"
        )
    terminal.show(conclusions)
    terminal.show(table("Population parameters, NUTS beside ADVI", result.parameters))
    methods = "The hierarchical model by NUTS; two_routes: from integration, in standard errors"
    terminal.show(table(methods, result.methods))
    terminal.show(table("Root mean square deviation by definition", result.rmsd))
    names = ["elpd_loo", "elpd_diff", "elpd_diff_se", "rmsd_kfold", "rmsd_kfold_se", "rows_loo"]
    scores = result.comparison.table[[*names, "rows_from_prior"]]
    terminal.show(table("Left-out houses that every model can predict", scores))
    for name, diagnosis in result.diagnoses.items():
        terminal.show(f"{name}\n{diagnosis.text(command=True)}")
