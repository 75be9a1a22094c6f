"""One page about a fit, for a reader who knows the question but not the statistics.

The page is a single file without scripts, which needs no network: it can be mailed, printed and
archived. It opens with the question, says whether the numbers can be trusted, then answers.
"""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from radon_numpyro.comparison.table import Comparison
from radon_numpyro.report import sections, tables
from radon_numpyro.report.answers import question
from radon_numpyro.report.words import Section, name
from radon_numpyro.results.diagnostics import Diagnosis, diagnose
from radon_numpyro.results.estimates import Numbers

# What a file in UTF-8 or an HTML parser cannot keep: control characters and lone surrogates.
_CONTROL = {c: "\N{REPLACEMENT CHARACTER}" for c in (*range(32), *range(127, 160))}
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")
_UNPRINTABLE = _CONTROL | _SURROGATES | {ord("\n"): "\n", ord("\t"): "\t"}


def html_report(
    tree: xr.DataTree,
    *,
    diagnosis: Diagnosis | None = None,
    comparison: Comparison | None = None,
    title: str | None = None,
    ci_prob: float = 0.9,
) -> str:
    """A page about a fit: question, verdict, answer, and all that stands behind it.

    Parameters
    ----------
    tree
        A fit, fresh or loaded from a file, of any model; it may have seen statistics only.
    diagnosis
        From :func:`~radon_numpyro.diagnose` of the fit, if it is there already.
    comparison
        The fit's model beside others, of the same rows.
    title
        Heading of the page; default made of the names of the columns.
    ci_prob
        Probability of the intervals, which have equal tails.

    Returns
    -------
    str
        HTML, to be written in UTF-8. The same fit gives the same page.

    Raises
    ------
    TypeError
        If ``tree`` or ``comparison`` is something else.
    ValueError
        If ``ci_prob`` is not between 0 and 1, or the comparison is of other data.

    Examples
    --------
    >>> Path("report.html").write_text(html_report(tree), encoding="utf-8")  # doctest: +SKIP
    """
    if not 0.0 < ci_prob < 1.0:
        raise ValueError(f"Expected ci_prob between 0 and 1; got {ci_prob!r}")
    numbers = Numbers(tree, ci_prob)
    labels = numbers.labels
    _check_comparison(tree, comparison)
    diagnosis = diagnose(tree) if diagnosis is None else diagnosis
    found = [
        sections.verdict(numbers, diagnosis),
        sections.answer(numbers, diagnosis),
        sections.data(numbers),
        sections.model(numbers),
        tables.results(numbers, diagnosis),
        tables.groups(numbers),
        tables.predictions(numbers),
        tables.advi(numbers),
        sections.comparison(numbers, comparison),
        sections.made(numbers),
    ]
    return render(
        title=title or f"{labels.outcome} by {labels.group}",
        heading=title or [name(labels.outcome), " by ", name(labels.group)],
        question=question(numbers),
        sections=[section for section in found if section],
        version=json.loads(tree.attrs["versions"])["radon-numpyro"],
    )


def render(
    *, title: str, heading: Any, question: Any, sections: list[Section], version: str
) -> str:
    """A page by the templates, which alone make markup: whatever else comes in is text.

    Parameters
    ----------
    title
        Of the window.
    heading, question
        Words above everything.
    sections
        What the page holds, in order.
    version
        Of the package that made the fit.
    """
    # Here, for the package is imported without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("radon_numpyro.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title, heading=heading, question=question, sections=sections, version=version
    )


def _printable(value: Any) -> Any:
    """Text without characters that no page can hold."""
    return value.translate(_UNPRINTABLE) if type(value) is str else value


def _check_comparison(tree: xr.DataTree, comparison: Comparison | None) -> None:
    if comparison is None:
        return
    if not isinstance(comparison, Comparison):
        raise TypeError(f"Expected comparison to be a Comparison; got {type(comparison).__name__}")
    prints = {fit.attrs["data_fingerprint"] for fit in comparison.fits.values()}
    if prints != {tree.attrs.get("data_fingerprint")}:
        raise ValueError("Expected comparison of the rows of tree; got one of other data")
