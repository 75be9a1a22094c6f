"""Draw figures of fits: functions take a DataTree and return matplotlib Axes.

They do not fit, save or show anything.

=============================  ====================================================================
function                       shows
=============================  ====================================================================
:func:`plot_elbo`              the evidence lower bound by step, and why ADVI stopped
:func:`plot_advi_vs_nuts`      ADVI's Normal densities over the draws, for every site
:func:`plot_trace`             marginal densities and traces
:func:`plot_group_lines`       the regression lines of single groups under several models
:func:`plot_shrinkage`         how partial pooling moves each group's estimate
:func:`plot_forest`            every group's coefficient with its interval
:func:`plot_comparison`        how well models predict rows that were fitted and left out
:func:`plot_ppc`               the outcome beside outcomes that the fit predicts
:func:`plot_prior_posterior`   prior and posterior densities of the shared parameters
:func:`plot_prior_predictive`  the outcome beside outcomes that the priors alone predict
=============================  ====================================================================
"""

from radon_numpyro.plots.check_figures import (
    plot_comparison,
    plot_ppc,
    plot_prior_posterior,
    plot_prior_predictive,
)
from radon_numpyro.plots.group_figures import plot_forest, plot_group_lines
from radon_numpyro.plots.pooling_figures import plot_shrinkage
from radon_numpyro.plots.sampling_figures import plot_advi_vs_nuts, plot_elbo, plot_trace

__all__ = [
    "plot_elbo",
    "plot_advi_vs_nuts",
    "plot_trace",
    "plot_group_lines",
    "plot_shrinkage",
    "plot_forest",
    "plot_comparison",
    "plot_ppc",
    "plot_prior_posterior",
    "plot_prior_predictive",
]
