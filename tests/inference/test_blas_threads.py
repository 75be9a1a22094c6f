"""BLAS has one thread where many small matrices are factored: several wait for each other."""

import pandas as pd
from dense import equations_of, make_priors
from threadpoolctl import threadpool_info, threadpool_limits

from radon_numpyro import compare, fit
from radon_numpyro.comparison import table
from radon_numpyro.inference.integration import scale_posterior
from radon_numpyro.inference.nuts import sampler


def threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


def watched(monkeypatch, module, name):
    """Replace a function by one that notes how many threads BLAS has when it is called."""
    seen, function = [], getattr(module, name)

    def noting(*args, **kwargs):
        seen.append(threads())
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, noting)
    return seen


def test_fits_integrals_and_comparisons_have_one_thread(monkeypatch, unequal_data):
    data = unequal_data(1)
    rows = pd.DataFrame({"y": data.y, "x": data.x[:, 0], "g": data.group.astype(str)})
    seen = [
        watched(monkeypatch, sampler, "given_scales"),
        watched(monkeypatch, scale_posterior, "proposal_at_mode"),
        watched(monkeypatch, table, "leave_one_out"),
    ]
    with threadpool_limits(2, user_api="blas"):
        few = {"draws": 20, "num_warmup": 20, "chains": 2, "num_advi_steps": 0}
        fits = {"chains": fit("y ~ x + (x || g)", rows, **few, progress_bar=False)}
        fits["nodes"] = fit("y ~ x + (1 | g)", rows, method="integrate")
        scale_posterior.integrate_scales(equations_of(data), make_priors(1))
        assert threads() == {2}
        compare(fits)
        assert threads() == {2}
    assert all(found and all(each == {1} for each in found) for found in seen)
