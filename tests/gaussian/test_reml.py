"""With flat priors the mode of the scales is REML: against what R's lme4 finds.

The values are those of lme4 1.1-31 in R 4.2.2, by ``lmer(formula, data, control =
lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12)))``: standard deviations, the REML
criterion, and the coefficients with their standard errors.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dense import equations_of
from designs import with_design
from scipy import optimize

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.radon import load_radon
from radon_numpyro.gaussian.conditional import prior_rows
from radon_numpyro.gaussian.marginal import gradient, marginal

CASES = Path(__file__).parents[1] / "cases"
SCHOOLS = Path(__file__).parents[2] / "radon_numpyro/datasets/mathachieve.csv"


def data_of(frame, y, group, population, varying):
    names = [name for name in (*varying, *population) if name != INTERCEPT]
    data = GroupedData.from_frame(frame, y=y, x=list(dict.fromkeys(names)), group=group)
    return with_design(data, Design(tuple(population), tuple(varying)))


def sleepstudy(population, varying):
    frame = pd.read_csv(CASES / "sleepstudy.csv")
    return data_of(frame, "Reaction", "Subject", population, varying)


def radon(*columns):
    """With the logarithm of the county's uranium, and its product with the floor."""
    source = Path(__file__).parents[2] / "radon_numpyro/datasets/radon_minnesota.csv"
    frame = pd.read_csv(source)
    np.testing.assert_array_equal(frame["log_radon"], load_radon().y)
    frame["uranium"] = np.log(frame["uppm"])
    frame["floor_uranium"] = frame["floor"] * frame["uranium"]
    population = (INTERCEPT, "floor", *columns)
    return data_of(frame, "log_radon", "county", population, (INTERCEPT, "floor"))


def schools():
    frame = pd.read_csv(SCHOOLS)
    frame["minority"] = (frame["Minority"] == "Yes").astype(float)
    frame["male"] = (frame["Sex"] == "Male").astype(float)
    frame["product"] = frame["SES"] * frame["minority"]
    population = (INTERCEPT, "SES", "minority", "MEANSES", "male", "product")
    return data_of(frame, "MathAch", "School", population, (INTERCEPT, "SES"))


def machines():
    frame = pd.read_csv(CASES / "machines.csv")
    frame = frame.assign(B=frame["Machine"] == "B", C=frame["Machine"] == "C")
    return data_of(frame, "score", "Worker", (INTERCEPT, "B", "C"), (INTERCEPT,))


# Standard deviations, that of the residual last; REML criterion; coefficients; standard errors.
FITS = {
    "sleepstudy, Reaction ~ Days + (Days || Subject)": (
        lambda: sleepstudy((INTERCEPT, "Days"), (INTERCEPT, "Days")),
        (25.05132963993, 5.98817182292, 25.56528515283),
        1743.66929358131,
        (251.4051048485, 10.4672859596),
        (6.88538150715, 1.55956599589),
    ),
    "sleepstudy, Reaction ~ Days + (0 + Days | Subject)": (
        lambda: sleepstudy((INTERCEPT, "Days"), ("Days",)),
        (7.26002884891, 29.01774706367),
        1766.52502748557,
        # The algebra has the columns that vary first.
        (10.4672859596, 251.4051048485),
        (1.86955786250, 4.01997075827),
    ),
    "sleepstudy, Reaction ~ 1 + (Days || Subject)": (
        lambda: sleepstudy((INTERCEPT,), (INTERCEPT, "Days")),
        (24.7056442603, 11.8722345772, 25.6056598706),
        1769.9650430604,
        (253.919178502,),
        (6.7834620739,),
    ),
    "radon, log_radon ~ floor + log(uppm) + (1 + floor || county)": (
        lambda: radon("uranium"),
        (0.127666993690, 0.357949103257, 0.718382617171),
        2054.2739313405,
        (1.493302488303, -0.615291466399, 0.738980806520),
        (0.0346836548685, 0.0851671186357, 0.0852419932500),
    ),
    "radon, log_radon ~ floor * log(uppm) + (1 + floor || county)": (
        lambda: radon("uranium", "floor_uranium"),
        (0.127495598007, 0.323234017584, 0.718965476659),
        2052.1655508519,
        (1.498289655742, -0.641783946742, 0.786259463680, -0.411236049851),
        (0.0347785508039, 0.0833505927426, 0.0894453564072, 0.2236439902371),
    ),
    "MathAch ~ SES * Minority + MEANSES + Sex + (1 + SES || School)": (
        schools,
        (1.560170126602, 0.472987016644, 5.976695496155),
        46325.7567547559,
        (
            *(12.791934740404, 2.177128132750, -2.840476320490),
            *(2.987379430197, 1.196120729977, -0.783294356097),
        ),
        (
            *(0.172252862263, 0.134325091967, 0.205824838325),
            *(0.370111215868, 0.160761359110, 0.217550609159),
        ),
    ),
    "Machines, score ~ Machine + (1 | Worker)": (
        machines,
        (5.14655209286, 3.16164743300),
        286.878201977719,
        (52.35555555556, 7.96666666667, 13.91666666667),
        (2.22931242295, 1.05388247767, 1.05388247767),
    ),
    "towns, log10_price ~ latitude + (1 | town)": (
        lambda: data_of(
            pd.read_csv(CASES / "group_level.csv"),
            "log10_price",
            "town",
            (INTERCEPT, "latitude"),
            (INTERCEPT,),
        ),
        (0.159655825627, 0.120828444017),
        -54.8869656146432,
        (10.1400801247712, -0.0933915182308),
        (1.2610754635808, 0.0234831473586),
    ),
}


@pytest.mark.parametrize(
    ("data", "sds", "criterion", "coefficients", "errors"), FITS.values(), ids=FITS
)
def test_the_mode_under_flat_priors_is_that_of_lme4(data, sds, criterion, coefficients, errors):
    equations = equations_of(data())
    num_columns = len(coefficients)
    prior = prior_rows(equations, np.zeros(num_columns), np.full(num_columns, np.inf))

    def minus_log_density(log_scales):
        values = np.exp(log_scales)
        found = marginal(equations, values[:-1], values[-1], prior)
        slopes = gradient(equations, found, prior)
        return -found.log_density, -np.append(slopes.scale, slopes.eps) * values

    start = np.log(np.array(sds)) + 0.2 * (-1.0) ** np.arange(len(sds))
    best = optimize.minimize(
        minus_log_density, start, jac=True, method="BFGS", options={"gtol": 1e-9}
    )
    np.testing.assert_allclose(np.exp(best.x), sds, rtol=1e-5)
    assert 2.0 * best.fun == pytest.approx(criterion, abs=1e-7 * abs(criterion))

    found = marginal(equations, np.array(sds[:-1]), np.asarray(sds[-1]), prior).population
    np.testing.assert_allclose(equations.to_model(found.mean), coefficients, rtol=1e-7)
    inverse = np.linalg.solve(found.cholesky, equations.at_zero()[1].T)
    np.testing.assert_allclose(np.sqrt((inverse**2).sum(0)), errors, rtol=1e-7)
