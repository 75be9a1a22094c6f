"""Draw the results of the validation as a figure, without further computation."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

BLUE, _, GREEN, VERMILION = sns.color_palette("colorblind").as_hex()[:4]
METHODS = {
    "marginal": (GREEN, "o", "marginal"),
    "noncentered": (BLUE, "s", "non-centred"),
    "centered": (VERMILION, "D", "centred, as published"),
}
GREY = "0.45"
# Maximum number of panels in a row: more would leave no room for their titles.
COLUMNS = 5


def figure(result):
    """Draw one panel of rank ECDFs for each model, and one of the reference posterior."""
    models = result["calibration"]["models"]
    rows = -(-len(models) // COLUMNS)
    fig = plt.figure(figsize=(8.5, 3.2 + 2.6 * rows), layout="constrained")
    grid = fig.add_gridspec(rows + 1, min(COLUMNS, len(models)))
    axes = [fig.add_subplot(grid[divmod(k, COLUMNS)]) for k in range(len(models))]
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        _ranks(ax, name, model)
    limit = max(abs(y) for ax in axes for y in ax.get_ylim())
    plt.setp(axes, ylim=(-limit, limit))
    for k, ax in enumerate(axes):
        if k % COLUMNS:
            plt.setp(ax, yticklabels=[])
        else:
            ax.set_ylabel("ECDF of the ranks less uniform", fontsize=8)
    last = axes[(rows - 1) * COLUMNS :]
    last[len(last) // 2].set_xlabel("rank of the truth among the draws", fontsize=8)
    _reference(fig.add_subplot(grid[rows, :]), result["reference"])
    fig.legend(fontsize=7, frameon=False, loc="outside lower left")
    return fig


def _ranks(ax, name, model):
    points = np.array(model["points"])
    ax.fill_between(points, model["lower"], model["upper"], color=GREY, alpha=0.2, lw=0)
    for quantity in model["quantities"].values():
        inside = quantity["inside"]
        ax.plot(
            points,
            quantity["difference"],
            color=GREY if inside else VERMILION,
            lw=0.6 if inside else 1.5,
            drawstyle="steps-post",
        )
    sets, count = model["data_sets"], len(model["quantities"])
    name = name.replace(": ", ":\n")
    _dress(ax, f"{name}\n{sets} data sets\n{count} quantities")
    ax.set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])


def _reference(ax, reference):
    sites = list(reference["exact"])
    ax.axvline(0, color="black", lw=0.6)
    for k, (method, row) in enumerate(reference["methods"].items()):
        colour, marker, words = METHODS[method]
        height = np.arange(len(sites)) + 0.22 * (k - 1)
        off = [row["sites"][site]["mean_off"] for site in sites]
        error = [2 * row["sites"][site]["mean_error"] for site in sites]
        note = f"R-hat {row['max_rhat']:.3f}, {row['divergences']} divergences"
        ax.errorbar(
            off,
            height,
            xerr=error,
            fmt=marker,
            color=colour,
            ms=4,
            lw=1,
            label=f"{words}: {note}",
        )
    ax.set_yticks(range(len(sites)), sites)
    ax.invert_yaxis()
    _dress(ax, "hierarchical model, radon: posterior means beside the exact ones")
    ax.set_xlabel("distance in posterior sds, with 2 Monte Carlo standard errors", fontsize=8)


def _dress(ax, title):
    ax.set_title(title, loc="left", fontsize=8)
    ax.tick_params(labelsize=7, width=0.6, length=3)
    ax.spines[["top", "right"]].set_visible(False)
