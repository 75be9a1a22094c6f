"""The radon surveys: measurements in houses of the United States, by county."""

from importlib import resources
from typing import Literal

import numpy as np
import pandas as pd

from radon_numpyro.data.grouped_data import GroupedData


def load_radon(which: Literal["minnesota", "us"] = "minnesota") -> GroupedData:
    """Load radon measured in houses; ``datasets/README.md`` describes the files.

    The outcome is ``log_radon`` = log(activity + 0.1) with the activity in pCi/L. The predictor is
    ``floor``, the floor of the measurement, where 0 is the basement.

    Parameters
    ----------
    which
        ``"minnesota"``: the tutorial's 919 houses in 85 counties; floor 0 or 1; group ``county``.
        ``"us"``: 12 490 houses of seven states and of tribal lands; floor 0 to 3; group ``fips``,
        the county code as a string of five digits. 287 rows without a recorded floor (code 9)
        are left out and counted in `GroupedData.left_out`.

    Returns
    -------
    The data, groups in the order of the file.

    Raises
    ------
    ValueError
        If `which` is neither of the two.
    """
    if which not in ("minnesota", "us"):
        raise ValueError(f"Expected which to be 'minnesota' or 'us'; got {which!r}")
    file = resources.files("radon_numpyro") / "datasets" / f"radon_{which}.csv"
    # Python's float rounds correctly; the default parser of pandas before 3 is an ulp off.
    exact = {"log_radon": float, "activity": float}
    with file.open(encoding="utf-8") as stream:
        frame = pd.read_csv(stream, dtype={"fips": "str"}, converters=exact)
    if which == "minnesota":
        return GroupedData.from_frame(frame, y="log_radon", x="floor", group="county")
    frame = frame.assign(log_radon=np.log(frame["activity"] + 0.1))
    return GroupedData.from_frame(
        frame, y="log_radon", x="floor", group="fips", missing={"floor": 9}
    )
