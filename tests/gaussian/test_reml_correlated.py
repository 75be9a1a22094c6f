"""Formulas under flat priors, correlated coefficients among them: the mode is lme4's REML.

The values are those of lme4 1.1-31 in R 4.2.2, by ``lmer(formula, data, control =
lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12)))``. For independent
coefficients of the levels of a category lme4 had a column of zeros and ones for each,
``(0 + A | Worker)``.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dense import equations_of
from scipy import optimize

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.conditional import prior_rows
from radon_numpyro.gaussian.marginal import gradient, marginal
from radon_numpyro.model.correlations import correlation_of, correlation_root

CASES = Path(__file__).parents[1] / "cases"
DATASETS = Path(__file__).parents[2] / "radon_numpyro/datasets"

# File, formula; sds, that of the residual last; correlations by row; REML criterion; coefficients
# by name; their standard errors.
FITS = {
    "sleepstudy": (
        CASES / "sleepstudy.csv",
        "Reaction ~ Days + (Days | Subject)",
        (24.740447616700, 5.922133259579, 25.59181589262),
        (0.0655513428535,),
        1743.62827195849,
        {"Intercept": 251.4051048485, "Days": 10.4672859596},
        {"Intercept": 6.82455577628, "Days": 1.54578893243},
    ),
    "sleepstudy, slopes about 0": (
        CASES / "sleepstudy.csv",
        "Reaction ~ 1 + (Days | Subject)",
        (25.52677009476, 11.92670361370, 25.59181559026),
        (-0.182235363337,),
        1769.8449038587,
        {"Intercept": 257.7617718906},
        {"Intercept": 6.75968507296},
    ),
    "rats": (
        CASES / "rats.csv",
        "weight ~ I(age - 22) + (I(age - 22) | rat)",
        (14.2535834930234, 0.5105576672873, 6.014612133312),
        (0.668048706654,),
        1095.3733887647,
        {"Intercept": 242.653333333334, "I(age - 22)": 6.185714285714},
        {"Intercept": 2.648268328647, "I(age - 22)": 0.105593055846},
    ),
    "radon": (
        DATASETS / "radon_minnesota.csv",
        "log_radon ~ floor + log(uppm) + (floor | county)",
        (0.1220670888269, 0.3422318328957, 0.7187771204102),
        (0.204517668523,),
        2054.13345023485,
        {"Intercept": 1.4935444434383, "floor": -0.6152054198798, "log(uppm)": 0.7448686975060},
        {"Intercept": 0.0341011858584, "floor": 0.0838210984314, "log(uppm)": 0.0849503549951},
    ),
    "High School and Beyond": (
        DATASETS / "mathachieve.csv",
        "MathAch ~ SES * Minority + MEANSES + Sex + (SES | School)",
        (1.5502725550886, 0.4179410275339, 5.979324066351),
        (-0.769569711233,),
        46319.1779257701,
        {"Intercept": 12.7989810978982, "SES": 2.1640464216173, "MEANSES": 2.9900188392604},
        {"Intercept": 0.171687882340, "SES": 0.133148189508, "MEANSES": 0.361297754950},
    ),
    "Machines": (
        CASES / "machines.csv",
        "score ~ Machine + (Machine | Worker)",
        (4.079280115656, 5.877643792154, 3.689854208371, 0.9615766452885),
        (0.483981362495, -0.365003165524, 0.296636716038),
        208.311218316419,
        {"Intercept": 52.355555555558, "Machine[B]": 7.966666666666},
        {"Intercept": 1.68071096779, "Machine[B]": 2.42085096301},
    ),
    "Machines, a level each": (
        CASES / "machines.csv",
        "score ~ Machine + (0 + Machine | Worker)",
        (4.079280134332, 8.625289099391, 4.389478662220, 0.9615766805463),
        (0.802749927071, 0.622504580519, 0.770830794177),
        208.31121831642,
        {"Intercept": 52.355555555555, "Machine[C]": 13.916666666667},
        {"Intercept": 1.68071097647, "Machine[C]": 1.54009974212},
    ),
    "Machines, a level each beside an intercept, which they determine": (
        CASES / "machines.csv",
        "score ~ Machine + (1 | Worker) + (0 + Machine || Worker)",
        (3.785946429743, 1.940320286160, 5.874022854155, 2.845471607739, 0.9615766513831),
        (),
        211.939582845815,
        {"Intercept": 52.355555555558, "Machine[B]": 7.966666666666},
        {"Intercept": 1.751496648929, "Machine[B]": 2.545761414424},
    ),
}


@pytest.mark.parametrize(
    ("file", "formula", "sds", "correlations", "criterion", "coefficients", "errors"),
    FITS.values(),
    ids=FITS,
)
def test_the_mode_under_flat_priors_is_that_of_lme4(
    file, formula, sds, correlations, criterion, coefficients, errors
):
    data = GroupedData.from_formula(formula, pd.read_csv(file))
    equations, design = equations_of(data), data.labels.design
    num_columns, size = len(design.population), len(design.varying)
    prior = prior_rows(equations, np.zeros(num_columns), np.full(num_columns, np.inf))

    def at(point):
        values = np.exp(point[: size + 1])
        root = correlation_root(design, np.tanh(point[size + 1 :]))
        return values, root, marginal(equations, values[:-1], values[-1], prior, root)

    def minus_log_density(point):
        values, _, found = at(point)
        slopes = gradient(equations, found, prior)
        by_z = []
        for k in range(len(point) - size - 1):
            z = np.tanh(point[size + 1 :]) + 0j
            z[k] += 1e-30j
            # The derivative of the root to the last digit, by a complex step.
            by_z.append((slopes.root * correlation_root(design, z).imag / 1e-30).sum())
        by_t = np.array(by_z) / np.cosh(point[size + 1 :]) ** 2
        by_log = np.append(slopes.scale, slopes.eps) * values
        return -found.log_density, -np.append(by_log, by_t)

    start = np.concatenate([np.log(sds), np.zeros(len(design.pairs))])
    best = optimize.minimize(
        minus_log_density, start, jac=True, method="BFGS", options={"gtol": 1e-8}
    )
    assert 2.0 * best.fun == pytest.approx(criterion, abs=1e-7 * abs(criterion))
    values, root, found = at(best.x)
    np.testing.assert_allclose(values, sds, rtol=2e-5)
    matrix = correlation_of(root)
    np.testing.assert_allclose([matrix[pair] for pair in design.pairs], correlations, atol=2e-5)

    # The columns of the algebra: those that vary first.
    shared = [name for name in design.varying if name in design.population]
    place = {name: k for k, name in enumerate([*shared, *design.fixed])}
    estimates = equations.to_model(found.population.mean)
    inverse = np.linalg.solve(found.population.cholesky, equations.at_zero()[1].T)
    standard_errors = np.sqrt((inverse**2).sum(0))
    for name, value in coefficients.items():
        assert estimates[place[name]] == pytest.approx(value, rel=1e-5)
        assert standard_errors[place[name]] == pytest.approx(errors[name], rel=2e-5)
