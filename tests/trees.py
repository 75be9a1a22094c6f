"""Make small trees for figures in the form of `to_datatree`, and read values off the figures."""

import json

import arviz as az
import numpy as np
import xarray as xr

COUNTIES = ("CASS", "CROW WING", "FREEBORN", "ANOKA")
COUNTS = (5, 12, 9, 1)
CHAINS, DRAWS = 2, 300
BLUE, GREEN, VERMILION = "#0173b2", "#029e73", "#d55e00"


def make_tree(
    model="hierarchical",
    predictors=("floor",),
    *,
    groups=COUNTIES,
    counts=COUNTS,
    rows=True,
    seed=0,
    wide=1.0,
):
    """Make a tree in the form of `to_datatree`, with distinct values by site, group and chain.

    `wide` multiplies the scale of the first group's slopes. In all rows of CASS and ANOKA the first
    predictor is 0.
    """
    rng = np.random.default_rng(seed)
    num, k = len(groups), len(predictors)
    count = np.array(counts)
    index = rng.permutation(np.repeat(np.arange(num), count))
    x = rng.normal(10.0, 3.0, size=(count.sum(), k))
    if k:
        x[:, 0] = (np.arange(len(index)) % 2) * np.isin(index, (1, 2))
    c, p = np.arange(1.0, num + 1), np.arange(1.0, k + 1)
    scale = np.ones((num, k))
    scale[0] = wide
    centres = {
        "mu_alpha": (2.0, 0.1),
        "sigma_alpha": (5.0, 0.2),
        "mu_beta": (-p, 0.3 * p),
        "sigma_beta": (4 + p, 0.1 * p),
        "alpha": (10.0 * c, 0.5 * c),
        "beta": (-3.0 * c[:, None] - 20 * p, 0.2 * c[:, None] * p * scale),
        "eps": (0.7, 0.02),
    }
    if model != "hierarchical":
        centres = {site: centres[site] for site in ("alpha", "beta", "eps")}
    if model == "individual":
        centres["eps"] = (0.5 * c, 0.05 * c)
    if model == "pooled":
        centres |= {"alpha": (1.5, 0.05), "beta": (-0.6 * p, 0.1 * p)}
    if not k:
        centres = {site: v for site, v in centres.items() if "beta" not in site}

    group = [] if model == "pooled" else ["county"]
    dims = {"mu_beta": ["predictor"], "sigma_beta": ["predictor"], "alpha": group}
    dims |= {"beta": [*group, "predictor"], "eps": group if model == "individual" else []}
    coords = {"county": np.array(groups), "predictor": np.array(predictors, dtype=str)}
    coords["predictor_other"] = coords["predictor"]
    draws = {
        site: mean + sd * rng.normal(size=(CHAINS, DRAWS, *np.shape(mean)))
        for site, (mean, sd) in centres.items()
    }
    diverging = np.zeros((CHAINS, DRAWS), dtype=bool)
    constant = {"count": count.astype(float), "group_index": index.astype(np.int32)}
    if k:
        mean_x = np.stack([x[index == group].mean(0) for group in range(num)])
        constant |= {"x": x, "mean_x": mean_x}
        constant["sxx"] = np.stack(
            [(x - m)[index == group].T @ (x - m)[index == group] for group, m in enumerate(mean_x)]
        )
    contents = {
        "posterior": draws,
        "sample_stats": {"diverging": diverging},
        "observed_data": {"y": rng.normal(size=len(index))},
    }
    if not rows:
        constant = {n: v for n, v in constant.items() if n not in ("x", "group_index")}
        del contents["observed_data"]
    shapes = {"count": ["county"], "x": ["row", "predictor"], "group_index": ["row"], "y": ["row"]}
    shapes |= {"mean_x": ["county", "predictor"]}
    shapes |= {"sxx": ["county", "predictor", "predictor_other"]}
    tree = az.from_dict(
        contents | {"constant_data": constant}, coords=coords, dims={**dims, **shapes}
    )
    tree["advi"] = xr.DataTree(
        xr.Dataset(
            attrs={
                "converged": 1,
                "reason": "level",
                "verdict": "close to the posterior (k-hat 0.3)",
            }
        )
    )
    elbo = -100.0 + rng.normal(size=2000)
    tree["advi/trace"] = xr.DataTree(xr.Dataset({"elbo": ("step", elbo)}, {"step": range(2000)}))
    # The means of ADVI differ from those of the draws, and its sds are half as large.
    for name, values in (
        ("means", {site: mean + 0.1 * sd for site, (mean, sd) in centres.items()}),
        ("sds", {site: 0.5 * sd + 0 * mean for site, (mean, sd) in centres.items()}),
    ):
        arrays = {site: np.asarray(v) for site, v in values.items()}
        dataset = az.dict_to_dataset(arrays, dims=dims, coords=coords, sample_dims=[])
        tree[f"advi/{name}"] = xr.DataTree(dataset)
    names = {"outcome": "log_radon", "predictors": json.dumps(predictors), "group": "county"}
    tree.attrs = {"model": model, **names}
    return tree


def posterior(tree, site, **where):
    return tree["posterior"][site].sel(where)


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def labelled(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def area(step_patch):
    values, edges, _ = step_patch.get_data()
    return float((values * np.diff(edges)).sum())


def add_draws(tree, group, *, shift=0.0, scale=1.0, seed=5):
    """Return a copy with draws of the outcome about the mean of the data plus `shift`."""
    y = tree["observed_data"]["y"].values
    noise = np.random.default_rng(seed).normal(size=(CHAINS, DRAWS, len(y)))
    drawn = y.mean() + shift + scale * noise
    copy = tree.copy(deep=True)
    copy[group] = xr.DataTree(xr.Dataset({"y": (("chain", "draw", "row"), drawn)}))
    return copy
