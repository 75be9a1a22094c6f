"""The comparison of models of pooling that commands make: of those that the data allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.design import Design

if TYPE_CHECKING:
    from radon_numpyro.cli.terminal import Terminal
    from radon_numpyro.comparison.table import Comparison
    from radon_numpyro.data.grouped_data import GroupedData
    from radon_numpyro.model.priors import Priors


def without_individual(design: Design) -> str:
    """Why the individual model is not compared, as a sentence; empty if it is.

    Parameters
    ----------
    design
        The columns, and which of them vary by group.
    """
    if design.varies_throughout:
        return ""
    why = "some coefficients vary about 0"
    if design.fixed:
        columns = "coefficient" if len(design.fixed) == 1 else "coefficients"
        why = f"the {columns} of {first_few(design.fixed)} cannot differ between groups"
    return (
        "The individual model is left out, because it fits each group on its own, and in this "
        f"model {why}."
    )


def compared_models(
    terminal: Terminal,
    data: GroupedData,
    *,
    priors: Priors | None,
    seed: int,
    folds: int = 10,
    leave_group_out: bool = False,
    draws: int = 1000,
    chains: int = 4,
) -> Comparison:
    """Fit and compare the pooled, the hierarchical and, if it can be, the individual model.

    Parameters
    ----------
    terminal
        Where to say what is compared.
    data
        The rows.
    priors, seed, folds, leave_group_out, draws, chains
        As in :func:`radon_numpyro.compare_pooling`.
    """
    from radon_numpyro.comparison.table import compare_pooling

    left_out = without_individual(data.labels.design)
    if left_out:
        terminal.note(left_out)
    models = "pooled and" if left_out else "pooled, individual and"
    terminal.note(f"Fitting and scoring the {models} hierarchical models.")
    return compare_pooling(
        data,
        priors=priors,
        folds=folds,
        leave_group_out=leave_group_out,
        draws=draws,
        chains=chains,
        seed=seed,
        progress_bar=terminal.progress_bar,
    )
