"""NumPyro is whole whatever was imported before: ArviZ puts a module in its place that loads late.

``import numpyro.distributions`` behind ``import arviz`` loads the package ``numpyro.distributions``
twice, the second time without its modules, on which NumPyro's own functions then fail.
"""

import subprocess
import sys

import pytest

TWICE = """
import sys
import arviz_base
import {module}
import numpyro.infer
for name, loaded in sys.modules.items():
    parent, _, attribute = name.rpartition(".")
    if parent.startswith("numpyro") and getattr(sys.modules[parent], attribute, None) is not loaded:
        print(name)
"""


@pytest.mark.parametrize(
    "module",
    [
        "radon_numpyro.inference.sampling",
        "radon_numpyro.model.regressions",
        "radon_numpyro.inference.advi.windows",
        "radon_numpyro.inference.nuts.blocks",
        "radon_numpyro.inference.nuts.draws",
        "radon_numpyro.results.arviz_groups",
    ],
)
def test_numpyro_is_whole_where_arviz_came_first(module):
    program = [sys.executable, "-W", "ignore", "-c", TWICE.format(module=module)]
    run = subprocess.run(program, capture_output=True, text=True, check=True)
    assert run.stdout == ""
