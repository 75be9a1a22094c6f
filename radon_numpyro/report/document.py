"""Write one page about a fit, for a reader who knows the question but not the statistics.

The page is a single file without scripts that needs no network, so it can be mailed, printed and
archived. It states the question, says whether the numbers can be trusted, and then answers.
"""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from radon_numpyro.comparison.table import Comparison
from radon_numpyro.report import sections, tables
from radon_numpyro.report.question import question
from radon_numpyro.report.words import Section, name
from radon_numpyro.results.diagnostics import Diagnosis, diagnose
from radon_numpyro.results.estimates import Numbers

# UTF-8 cannot encode lone surrogates, and HTML parsers drop or replace control characters.
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
    """Return an HTML page about a fit: question, verdict, answer, and the details behind them.

    Parameters
    ----------
    tree
        A fit of any model, new or loaded from a file. It may be a fit of statistics without rows.
    diagnosis
        Result of :func:`~radon_numpyro.diagnose` for this fit; default computed here.
    comparison
        Comparison of models on the rows of this fit; default no section about it.
    title
        Heading of the page; default the names of the outcome and of the group.
    ci_prob
        Probability of the equal-tailed intervals.

    Returns
    -------
    str
        HTML, to be written to a file in UTF-8. The same fit gives the same page.

    Raises
    ------
    TypeError
        If ``tree`` is not a fit, or ``comparison`` is not a :class:`Comparison`.
    ValueError
        If ``ci_prob`` is not between 0 and 1, or the comparison was made with other data.

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
    """Render the page. Only the templates contain markup; all other text is escaped.

    Parameters
    ----------
    title
        Title of the browser window.
    heading, question
        Words at the top of the page.
    sections
        Sections of the page, in order.
    version
        Version of the package that made the fit.
    """
    # Imported here, so that importing the package does not need Jinja2.
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
    """Replace characters that an HTML page cannot contain."""
    return value.translate(_UNPRINTABLE) if type(value) is str else value


def _check_comparison(tree: xr.DataTree, comparison: Comparison | None) -> None:
    if comparison is None:
        return
    if not isinstance(comparison, Comparison):
        raise TypeError(f"Expected comparison to be a Comparison; got {type(comparison).__name__}")
    prints = {fit.attrs["data_fingerprint"] for fit in comparison.fits.values()}
    if prints != {tree.attrs.get("data_fingerprint")}:
        raise ValueError("Expected comparison of the rows of tree; got one of other data")
