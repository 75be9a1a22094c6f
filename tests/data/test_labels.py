"""Labels as a file keeps them, and how they are found again."""

import json

import numpy as np
import pandas as pd
import pytest

from radon_numpyro.data.labels import as_index, match, stored


@pytest.mark.parametrize(
    ("groups", "asked", "expected"),
    [
        (
            (27, 3, -5),
            [3, 27.0, "27", np.int64(-5), 4, 3.5, "x", "3.0"],
            [1, 0, 0, 2, -1, -1, -1, 1],
        ),
        (("27", "03"), [27, 27.0, "27", 3, "03", "3"], [0, 0, 0, -1, 1, -1]),
        ((27.0, 1.5), [27, 27.0, 1.5, "27.0", "27"], [0, 0, 1, 0, 0]),
        # As a table that had a blank writes whole numbers; a zero in front is part of a label.
        (("1.0", "02.0"), ["1", 1, 1.0, "01", "2", "02", "1.00"], [0, 0, 0, -1, -1, -1, -1]),
        (("a", "A", ""), ["A", "a", "", "b"], [1, 0, 2, -1]),
        ((True, False), [True, False, "True", 1], [0, 1, 0, -1]),
        (
            tuple(pd.date_range("2024-01-30", periods=2)),
            [pd.Timestamp("2024-01-31"), "2024-01-30 00:00:00", "2024-01-30"],
            [1, 0, -1],
        ),
        ((("a", 1), ("a", 2)), [("a", 2), "a"], [1, -1]),
        (("a",), [], []),
    ],
)
def test_labels_are_matched_as_text_and_whole_numbers_by_value(groups, asked, expected):
    kept = stored(groups).tolist()
    assert match(asked, kept).tolist() == expected
    assert match(groups, kept).tolist() == list(range(len(groups)))


def test_labels_that_differ_in_type_alone_are_told_apart_no_more():
    kept = stored((1, "1", "b")).tolist()
    assert match(["b"], kept).tolist() == [2]
    with pytest.raises(ValueError, match="differ as text; got '1' for more than one"):
        match(["b", "1"], kept)


def test_arrays_of_labels_are_of_one_type():
    assert stored([3, -1]).dtype == np.int64
    for labels in ([3, True], [2**63, 1], ["b", 1], [1.0], []):
        expected = "U" if labels else "i"
        assert stored(labels).dtype.kind == expected
    assert json.dumps(stored(["b", 1, None]).tolist()) == '["b", "1", "None"]'


def test_text_that_no_file_can_hold_is_spelt_out_and_found_again():
    labels = ("a\0", "a", "\ud800", "São", "\\x00")
    kept = stored(labels).tolist()
    assert kept == ["a\\x00", "a", "\\ud800", "São", "\\x00"]
    assert all("\0" not in label and label.encode() for label in kept)
    assert match(labels, kept).tolist() == [0, 1, 2, 3, 4]


def test_labels_that_utf_8_has_no_bytes_for_are_labels():
    """All of them text, so that pandas would keep them as UTF-8."""
    labels = ("", "0", "\ud800")
    assert as_index(labels, "town").tolist() == list(labels)
    assert as_index(("a", "b")).tolist() == ["a", "b"]
