"""Priors in the words of a report: what they hold possible."""

import pytest
from scipy import stats

from radon_numpyro import (
    Exponential,
    Flat,
    HalfCauchy,
    HalfFlat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Uniform,
)
from radon_numpyro.report.words import prior_words


@pytest.mark.parametrize(
    ("prior", "k", "text", "means"),
    [
        (Normal([0.0, -1.0], 2.0), 1, "Normal(\u22121, 2)", "90 % between \u22124.3 and 2.3"),
        (HalfNormal(2.0), 0, "HalfNormal(2)", "90 % below 3.3"),
        (Uniform([1.0, 100.0]), 1, "Uniform(0, 100)", "anything up to 100, and nothing above"),
        (Flat(), 1, "Flat()", "any value, all alike"),
        (HalfFlat(), 1, "HalfFlat()", "any value above 0, all alike"),
    ],
)
def test_a_prior_is_written_with_what_it_holds_possible(prior, k, text, means):
    written, words = prior_words(prior.component(k), 0.9)
    assert written == text
    assert words.replace("\N{NO-BREAK SPACE}", " ") == means


@pytest.mark.parametrize(
    ("prior", "reference", "text"),
    [
        (HalfStudentT(3.0, 2.5), stats.t(3, 0, 2.5), "HalfStudentT(3, 2.5)"),
        (HalfCauchy(0.5), stats.cauchy(0, 0.5), "HalfCauchy(0.5)"),
        (Exponential(0.25), stats.laplace(0, 4), "Exponential(0.25)"),
    ],
)
def test_the_end_of_the_interval_is_that_of_scipy(prior, reference, text):
    """Else a reader would be told a wrong reach of the prior."""
    written, words = prior_words(prior.component(0), 0.9)
    assert written == text
    assert float(words.split("below ")[1]) == pytest.approx(reference.ppf(0.95), rel=0.05)
