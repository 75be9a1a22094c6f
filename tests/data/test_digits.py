"""Numbers in tables have the digits that their standard deviation calls for, and no others."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from radon_numpyro.data.digits import estimate, number, places, short, stated, texts_of

OFFSETS = [0.0, 1.0, 1e6, -1e6, 1e9, 1e12, -1e12, 1e-12]
SDS = [0.038, 0.0996, 4e-14, 0.5, 313.0, 2.5e7]


def value_of(text):
    return float(text.replace(",", ""))


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        # A mean far from zero: all three would be 1,000,000 by four figures.
        ((1e6 + 0.3456, 0.0381, 1e6 + 0.28, 1e6 + 0.41), "1,000,000.346 0.038 1,000,000.280 "),
        ((1e12 + 0.25, 0.04, 1e12 + 0.18, 1e12 + 0.31), "1,000,000,000,000.250 0.040 "),
        ((1.2345e-12, 4e-14, 1.17e-12, 1.3e-12), "1.235e-12 4.0e-14 1.170e-12 1.300e-12"),
        ((-0.6483, 0.0849, -0.79, -0.5), "-0.648 0.085 -0.790 -0.500"),
        # The sd is 0.10 with two digits: 0.7000 would say more than it allows.
        ((0.7, 0.0996, 0.5, 0.9), "0.70 0.10 0.50 0.90"),
        ((12345.6, 313.0, 11000.0, 13000.0), "12,350 310 11,000 13,000"),
        ((-1e-9, 0.28, -0.4, 0.4), "0.00 0.28 -0.40 0.40"),
        ((1e18, 4e14, 9.99e17, 1.001e18), "1.00000e+18 "),
        ((2.0, 0.0, 2.0, 2.0), "2 0 2 2"),
        ((1000000.4, 0.0, 1000000.4, 1000000.4), "1,000,000.4 0 "),
        ((np.nan, 1.0, np.inf, 3.0), "not finite 1.0 not finite 3.0"),
    ],
)
def test_an_estimate_is_written_to_the_second_digit_of_its_sd(numbers, texts):
    assert " ".join(estimate(*numbers)).startswith(texts)


@pytest.mark.parametrize(
    ("offset", "sd"),
    # Float64 itself tells such values apart.
    [(offset, sd) for offset in OFFSETS for sd in SDS if sd > 2 * np.spacing(abs(offset))],
)
def test_mean_and_ends_stay_apart(offset, sd):
    """A table in which mean, lower and upper look the same says nothing of the interval."""
    mean, low, high = offset + 0.1 * sd, offset - 1.5 * sd, offset + 1.7 * sd
    texts = estimate(mean, sd, low, high)
    assert len({texts[k] for k in (0, 2, 3)}) == 3
    for text, value in zip(texts, (mean, sd, low, high), strict=True):
        assert abs(value_of(text) - value) <= 0.0501 * sd + np.spacing(abs(value))
    assert f"{value_of(texts[1]):.1e}" == f"{sd:.1e}"


@given(st.floats(-1e15, 1e15), st.floats(1e-15, 1e9))
def test_no_digit_is_shown_that_float64_does_not_hold(value, sd):
    """Else the last digits would be those of the binary fraction, not of the data."""
    text = number(value, sd)
    shown, _, exponent = text.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(shown.partition(".")[2]))
    assert unit >= 0.9999 * np.spacing(abs(value)) or value_of(text) == 0
    assert abs(value_of(text) - value) <= max(0.0501 * sd, 10 * np.spacing(abs(value)))


@given(st.floats(1e-12, 1e12))
def test_places_reach_the_second_digit(sd):
    rounded = float(f"{sd:.1e}")
    assume(rounded > 0)
    assert 10 <= round(rounded * 10.0 ** places(sd)) <= 99


def test_numbers_without_an_sd_are_short():
    shown = [short(v) for v in (0.123456, 255.62, 999.96, 1178.9, 919.0, -0.0, 1e20, np.nan)]
    assert shown == ["0.1235", "255.6", "1,000", "1,179", "919", "0", "1e+20", "not finite"]


def test_a_number_that_was_set_is_short_where_its_sd_allows_that():
    """The prior Normal(1000000.25, 0.5) would read Normal(1,000,000, 0.5), off by half its sd."""
    assert stated(1.2345, 10.0) == "1.234"
    assert stated(0.0, 10.0) == "0"
    assert stated(1000000.25, 0.5) == "1,000,000.25"


def test_the_names_of_columns_say_whose_sd_it_is():
    row = {"mean": 1e6 + 0.3456, "sd": 0.0381, "lower": 1e6 + 0.28, "upper": 1e6 + 0.41}
    row |= {"advi_mean": 1e6 + 0.34, "advi_sd": 0.0372, "mcse_mean": 0.00123, "ess": 1178.9}
    row |= {"elpd_loo": -1234.56, "elpd_loo_se": 23.4, "name": "a", "none": np.nan}
    assert list(texts_of(row).values()) == [
        *("1,000,000.346", "0.038", "1,000,000.280", "1,000,000.410"),
        *("1,000,000.340", "0.037", "0.0012", "1,179"),
        *("-1,235", "23", "a", "-"),
    ]


def test_what_is_known_exactly_has_no_places_to_spare():
    """The best model is behind the best by 0 +- 0, not by 0.0000."""
    assert texts_of({"elpd_diff": 0.0, "elpd_diff_se": 0.0}) == {
        "elpd_diff": "0",
        "elpd_diff_se": "0",
    }
