"""Save fits in files, completely or not at all, and check a file completely before it is used.

A file may come from an untrusted source. The result of :func:`load_fit` is checked to have the
groups, variables, dimensions, dtypes and attributes of a result of :func:`~radon_numpyro.fit`.
Further groups, such as predictions, are passed on unchecked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.design import Design
from radon_numpyro.data.files.whole_files import write_whole
from radon_numpyro.data.labels import Labels
from radon_numpyro.inference.settings import INTEGRATE
from radon_numpyro.model.coefficient_priors import columns_of_sites
from radon_numpyro.model.models import COEFFICIENT, COEFFICIENT_OTHER, Model, coordinates
from radon_numpyro.results.datatree import column_dim, group_dim, site_dims
from radon_numpyro.results.fit_attributes import check_attributes, check_group
from radon_numpyro.results.fit_reader import (
    read_priors,
    read_statistics,
)
from radon_numpyro.results.hdf5 import check_hdf5, damaged, seal, write_groups
from radon_numpyro.statistics.consistency import as_statistics

ENGINE: Literal["h5netcdf"] = "h5netcdf"
_MOMENTS = ("means", "sds")
# Largest rounding error of an entry of a correlation matrix in single precision.
ROUNDING = 1e-4


class Variable(NamedTuple):
    """Requirements on a variable of a fit.

    Attributes
    ----------
    dims
        Names of the dimensions, in any order.
    kinds
        Allowed kinds of dtype, by NumPy's letters.
    least
        Smallest allowed value; None allows every value, finite or not.
    required
        Whether a fit must have the variable.
    """

    dims: tuple[str, ...]
    kinds: str = "f"
    least: float | None = -np.inf
    required: bool = True


def save_fit(tree: xr.DataTree, path: str | Path) -> Path:
    """Write a fit to a netCDF file, completely or not at all.

    Parameters
    ----------
    tree
        From :func:`~radon_numpyro.fit`, with or without further groups.
    path
        The file; an existing file is replaced.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit.
    OSError
        If the file cannot be written.
    """
    if not isinstance(tree, xr.DataTree):
        raise TypeError(f"Expected tree to be an xarray DataTree; got {type(tree).__name__}")
    check_fit(tree, "tree")

    def write(aside: Path) -> None:
        write_groups(tree, aside)
        seal(aside)

    return write_whole(Path(path), write)


def load_fit(path: str | Path) -> xr.DataTree:
    """Read a fit from its netCDF file into memory, and close the file.

    Parameters
    ----------
    path
        A file written by :func:`save_fit` or ``tree.to_netcdf``.

    Returns
    -------
    xarray.DataTree
        The checked fit, with exactly the saved numbers.

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    ValueError
        If the file is damaged or is not a fit. The message says where.
    """
    path = Path(path)
    check_hdf5(path)
    try:
        tree = xr.load_datatree(path, engine=ENGINE, decode_times=False, phony_dims="access")
    # For HDF5 that is not netCDF, the library raises many kinds of exceptions.
    except Exception as error:
        raise damaged(path, error) from error
    check_fit(tree, str(path))
    return tree


def check_fit(tree: xr.DataTree, name: str) -> None:
    """Check that a tree has the form of a result of :func:`~radon_numpyro.fit`.

    Parameters
    ----------
    tree
        Any tree.
    name
        Name of the tree in messages.

    Raises
    ------
    ValueError
        If a group, variable or attribute is missing or wrong. The message names it.
    """
    labels = check_attributes(tree, name)
    _check_dims(tree, name, labels)
    for path, variables in _expected(tree, labels).items():
        check_group(tree, name, path)
        dataset = tree[path].to_dataset()
        for variable, wanted in variables.items():
            if variable in dataset.variables:
                where = f"{path}/{variable} of {name}"
                _check_variable(dataset[variable], where, wanted)
            elif wanted.required:
                raise ValueError(f"Expected {name} to be a fit; got no {variable} in {path}")
    _check_correlation(tree, name, labels.design)
    _check_numbers(tree, name, labels)


def _check_dims(tree: xr.DataTree, name: str, labels: Labels) -> None:
    """Check that each dimension has the same size and labels in all groups."""
    found: dict[Hashable, tuple[str, Any]] = {}
    for path in _groups(tree):
        dataset = tree[path].to_dataset()
        for dim, size in dataset.sizes.items():
            index = dataset.indexes.get(dim)
            values = np.arange(size) if index is None else index.to_numpy()
            first, others = found.setdefault(dim, (path, values))
            if not np.array_equal(values, others):
                raise ValueError(
                    f"Expected the labels of {dim!r} in {name} to be the same in all groups; got "
                    f"different labels in {path} and {first}"
                )
    group = group_dim(labels)
    if group not in found:
        raise ValueError(f"Expected {name} to have a dimension {group!r}; got {first_few(found)}")
    expected = {column_dim(labels): labels.predictors, **coordinates(labels.design)}
    for dim, names in expected.items():
        known = found.get(dim, ("", np.array(names)))[1].tolist()
        if known != list(names):
            raise ValueError(
                f"Expected the labels of {dim!r} in {name} to be {list(names)}, as in its "
                f"attributes; got {known}"
            )


def _groups(tree: xr.DataTree) -> Iterator[str]:
    """Return the groups in the tree that :func:`~radon_numpyro.fit` makes."""
    known = ["/posterior", "/sample_stats", "/observed_data", "/constant_data"]
    known += ["/advi/trace"] + [
        f"/{parent}/{part}" for parent in ("advi", "coefficients") for part in _MOMENTS
    ]
    return (path for path in known if path in tree.groups)


def _expected(tree: xr.DataTree, labels: Labels) -> dict[str, dict[str, Variable]]:
    """Return the requirements on the variables of a fit, by group."""
    group = group_dim(labels)
    model, design = Model.named(tree.attrs["model"]), labels.design
    of_model = model.sites(design)
    column = column_dim(labels)
    sites = {site: tuple(dims) for site, dims in site_dims(tree.attrs["model"], labels).items()}
    chains = ("chain", "draw")
    least = {name: 0.0 for name, site in of_model.items() if site.is_scale}
    # With very many groups, the hierarchical model does not keep draws of the coefficients.
    optional = [name for name, site in of_model.items() if not site.is_top_level]
    table: dict[str, dict[str, Variable]] = {
        "/posterior": {
            site: Variable((*chains, *dims), "f", least.get(site, -np.inf), site not in optional)
            for site, dims in sites.items()
        },
        "/constant_data": {
            "count": Variable((group,), least=0.0),
            "mean_y": Variable((group,)),
            "syy": Variable((group,)),
        },
    }
    integrated = tree.attrs["method"] == INTEGRATE
    if not integrated:
        table["/advi/trace"] = {"elbo": Variable(("step",), least=None)}
    elif not model.eps_by_group and least:
        names = [*least, *("correlation",) * ("correlation" in sites)]
        scales = {s: Variable(("node", *sites[s]), least=least.get(s, -np.inf)) for s in names}
        table["/nodes"] = {"weight": Variable(("node",), least=0.0), **scales}
    for part in _MOMENTS:
        if not integrated:
            table[f"/advi/{part}"] = {s: Variable(d, least=None) for s, d in sites.items()}
        if f"/coefficients/{part}" in tree.groups:
            table[f"/coefficients/{part}"] = {
                site: Variable(dims) for site, dims in sites.items() if site in optional
            }
    constants = table["/constant_data"]
    if design.weighted:
        constants |= {"weight": Variable((group,), least=0.0), "log_weight": Variable((group,))}
    if labels.predictors:
        constants["mean_x"] = constants["sxy"] = Variable((group, column))
        constants["sxx"] = Variable((group, column, f"{column}_other"))
    if "/observed_data" in tree.groups:
        table["/observed_data"] = {"y": Variable(("row",))}
        constants["group_index"] = Variable(("row",), "iu", least=0)
        if design.weighted:
            constants["se" if design.se else "weights"] = Variable(
                ("row",), least=np.finfo(float).tiny
            )
        if labels.predictors:
            constants["x"] = Variable(("row", column))
    if "/sample_stats" in tree.groups or tree.attrs["method"] not in ("marginal", INTEGRATE):
        floats = ("lp", "energy", "acceptance_rate", "step_size")
        table["/sample_stats"] = {stat: Variable(chains, least=None) for stat in floats}
        table["/sample_stats"] |= {
            "n_steps": Variable(chains, "iu", least=0),
            "diverging": Variable(chains, "b", least=None),
        }
    return table


def _check_variable(array: xr.DataArray, where: str, wanted: Variable) -> None:
    if set(array.dims) != set(wanted.dims):
        raise ValueError(f"Expected {where} to have dimensions {wanted.dims}; got {array.dims}")
    if array.dtype.kind not in wanted.kinds:
        kinds = {"f": "of type float", "iu": "of type int", "b": "of type bool"}
        raise ValueError(f"Expected {where} to be {kinds[wanted.kinds]}; got {array.dtype}")
    if array.size == 0 and "step" not in array.dims:
        raise ValueError(f"Expected {where} to have entries; got shape {array.shape}")
    if wanted.least is not None:
        values = array.to_numpy()
        wrong = ~(np.isfinite(values) & (values >= wanted.least))
        if wrong.any():
            least = "" if wanted.least == -np.inf else f" and at least {wanted.least:g}"
            raise ValueError(
                f"Expected {where} to be finite{least}; got {int(wrong.sum())} of {wrong.size} "
                f"others: {first_few(values[wrong].tolist())}"
            )


def _check_correlation(tree: xr.DataTree, name: str, design: Design) -> None:
    """Check that the draws are correlation matrices of the coefficients that correlate."""
    posterior = tree["posterior"].to_dataset()
    if "correlation" not in posterior:
        return
    where = f"/posterior/correlation of {name}"
    if not design.correlated:
        raise ValueError(f"Expected no {where} without correlated coefficients; got one")
    dims = "chain", "draw", COEFFICIENT, COEFFICIENT_OTHER
    draws = posterior["correlation"].transpose(*dims).to_numpy().astype(np.float64)
    size = draws.shape[-1]
    free = np.zeros((size, size), dtype=bool)
    free[tuple(np.array(design.pairs).T)] = True
    others = ~(free | free.T)
    wrong = (np.abs(draws - np.swapaxes(draws, -1, -2)) > ROUNDING).any(axis=(-2, -1))
    wrong |= (np.abs(draws - np.eye(size))[..., others] > ROUNDING).any(axis=-1)
    wrong |= np.linalg.eigvalsh(draws)[..., 0] < -ROUNDING
    if wrong.any():
        raise ValueError(
            f"Expected {where} to have correlation matrices: symmetric, positive semidefinite, "
            "with ones on the diagonal and zeros for coefficients that are independent; got "
            f"{int(wrong.sum())} of {wrong.size} draws that are not"
        )


def _check_numbers(tree: xr.DataTree, name: str, labels: Labels) -> None:
    """Check what involves several variables: the readers, shapes of priors, rows of groups."""
    try:
        priors, statistics = read_priors(tree), as_statistics(read_statistics(tree))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected {name} to be a fit; {error}") from error
    columns = columns_of_sites(labels.design)
    for site in fields(priors):
        prior = getattr(priors, site.name)
        if prior is None and labels.design.fixed:
            raise ValueError(f"Expected {name} to have a prior of {site.name}; got none")
        shapes = set() if prior is None else {np.shape(v) for v in prior.parameters.values()}
        allowed = {(), (len(columns[site.name]),)} if site.name in columns else {()}
        if not shapes <= allowed:
            raise ValueError(
                f"Expected the prior of {site.name} in {name} to have parameters of shape "
                f"{' or '.join(map(str, sorted(allowed)))}; got {prior}"
            )
    if "/observed_data" in tree.groups:
        group, count = tree["constant_data"]["group_index"].to_numpy(), statistics.count
        outside = group[group >= len(count)]
        if outside.size or not np.array_equal(np.bincount(group, minlength=len(count)), count):
            raise ValueError(
                f"Expected group_index of {name} to give each of the {len(count)} groups as many "
                f"rows as count does; got {int(outside.size)} rows without a group, or other counts"
            )
