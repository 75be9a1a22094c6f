"""One page about a fit, for a reader who knows the question but not the statistics.

The page is a single file without scripts, which needs no network: it can be mailed, printed and
archived. It opens with the question, says whether the numbers can be trusted, then answers.
"""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from radon_numpyro.comparison.table import Comparison
from radon_numpyro.data.checks import plural
from radon_numpyro.inference.compute.devices import in_words
from radon_numpyro.report import groups as report_groups
from radon_numpyro.report import sections as report_sections
from radon_numpyro.report.answers import answer, question
from radon_numpyro.report.html import Html, element, page, section, table
from radon_numpyro.report.words import name, percent
from radon_numpyro.results.diagnostics import Diagnosis, diagnose, drawn_again
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.integration_checks import NODES, is_integrated, nodes_in_words


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
    columns = [name(labels.outcome), " by ", name(labels.group)]
    parts = {
        "verdict": ("Verdict", _verdict(diagnosis, tree)),
        "answer": ("Answer", _answer(numbers, diagnosis)),
        "data": ("Data", report_sections.data(numbers)),
        "model": ("Model", report_sections.model(numbers)),
        "results": ("Results", report_sections.results(numbers, diagnosis)),
        "groups": ("Groups", report_groups.groups(numbers)),
        "predictions": ("Predictions", report_groups.predictions(numbers)),
        "advi": ("ADVI", report_sections.advi(numbers)),
        "comparison": ("Comparison", report_sections.comparison(numbers, comparison)),
        "made": ("How it was made", _made(numbers)),
    }
    kept = {key: (link, part) for key, (link, part) in parts.items() if part}
    header = [element("h1", title or columns), question(numbers)]
    package = json.loads(tree.attrs["versions"])["radon-numpyro"]
    return page(
        title or f"{labels.outcome} by {labels.group}",
        header,
        {key: part for key, (_, part) in kept.items()},
        {key: link for key, (link, _) in kept.items()},
        element("p", f"Made by radon_numpyro {package}."),
    )


def _check_comparison(tree: xr.DataTree, comparison: Comparison | None) -> None:
    if comparison is None:
        return
    if not isinstance(comparison, Comparison):
        raise TypeError(f"Expected comparison to be a Comparison; got {type(comparison).__name__}")
    prints = {fit.attrs["data_fingerprint"] for fit in comparison.fits.values()}
    if prints != {tree.attrs.get("data_fingerprint")}:
        raise ValueError("Expected comparison of the rows of tree; got one of other data")


def _verdict(diagnosis: Diagnosis, tree: xr.DataTree) -> Html:
    """Whether the numbers can be trusted, in words, and what to try if they cannot."""
    exact = "sample_stats" not in tree.children
    sampler = diagnosis.nodes or "independent and exact"
    told = [
        f"{diagnosis.num_draws:,} draws",
        *([f"largest R-hat {diagnosis.max_rhat:.4f}"] if "r_hat" in diagnosis.table else []),
        f"smallest effective sample size {diagnosis.min_ess:,.0f}",
        sampler if exact else plural(diagnosis.num_divergences, "divergence"),
    ]
    spoiling = [finding for finding in diagnosis.findings if not finding.caution]
    cautions = [finding for finding in diagnosis.findings if finding.caution]
    command = "command" in tree.attrs
    if diagnosis.ok:
        said = [
            element("p", element("strong", "The draws can be trusted."), role="status"),
            element(
                "p",
                "They represent what the model and its priors say given the data. Whether the "
                "model suits the data is another question, for which see the data and the check "
                "of predictions.",
            ),
        ]
    else:
        said = [
            element("p", element("strong", "Do not rely on these numbers yet."), role="status"),
            element("p", "Some of them mean nothing, or are not what the model says of the data:"),
            report_sections.findings(spoiling, command=command),
        ]
    if cautions:
        said += [
            element("p", "Read the numbers with this in mind:"),
            report_sections.findings(cautions, command=command),
        ]
    if diagnosis.routes:
        said.append(element("p", diagnosis.routes))
    body = [*said, element("p", f"{', '.join(told)}.", class_="soft")]
    kind = "good" if diagnosis.ok else "bad"
    return element(
        "div",
        section("verdict", "Can these numbers be trusted?", body),
        class_=f"verdict {kind}",
    )


def _answer(numbers: Numbers, diagnosis: Diagnosis) -> Html:
    warning = None if diagnosis.ok else element("p", element("strong", "Not yet to be relied on:"))
    about = (
        f"A {percent(numbers.prob)} interval holds the true value with that probability, if the "
        "model and its priors are right. What goes with what need not cause it."
    )
    return section(
        "answer", "The answer", warning, answer(numbers), element("p", about, class_="soft")
    )


def _made(numbers: Numbers) -> Html:
    """What it takes to make the fit again."""
    attrs, tree = numbers.tree.attrs, numbers.tree
    why = attrs.get("method_reason")
    facts: dict[str, Any] = {
        "model, method": f"{attrs['model']}, {attrs['method']}{f' ({why})' if why else ''}",
        "draws": _draws(tree),
        "log evidence": _evidence(tree),
        "warm-up": attrs.get("num_warmup"),
        "target acceptance": attrs.get("target_accept_prob"),
        "earlier runs": drawn_again(tree),
        "gradients, warm-up and draws": _pair(attrs, "warmup_gradients", "sampling_gradients"),
        "seed": attrs["seed"],
        "device": in_words(attrs.get("device"), attrs.get("device_reason")),
        "numbers": attrs["dtype"],
        "seconds": _json(attrs.get("timings", "{}")),
        "versions": _json(attrs["versions"]),
        "fingerprint of the data": attrs.get("data_fingerprint"),
        "priors": attrs["priors"],
    }
    rows = [[fact, value] for fact, value in facts.items() if value is not None]
    commands = [
        element("pre", element("code", attrs[key])) for key in ("command", "call") if key in attrs
    ]
    return section(
        "made",
        "How it was made",
        commands,
        table("The run.", ["fact", "value"], rows, label="The run", words=[1]),
    )


def _draws(tree: xr.DataTree) -> str:
    sizes = tree["posterior"].sizes
    if is_integrated(tree):
        return f"{sizes['draw'] * sizes['chain']:,}, {nodes_in_words(tree)}"
    return f"{sizes['draw']} of each of {plural(sizes['chain'], 'chain')}"


def _evidence(tree: xr.DataTree) -> str | None:
    """Log of the probability of the data, of a fit by integration."""
    if NODES not in tree.children:
        return None
    about = tree[NODES].attrs
    return f"{about['log_evidence']:,.3f} +- {about['log_evidence_error']:.3f} nats"


def _pair(attrs: Any, first: str, second: str) -> str | None:
    return f"{attrs[first]:,} and {attrs[second]:,}" if first in attrs else None


def _json(text: str) -> str:
    return ", ".join(f"{key} {value}" for key, value in json.loads(text).items())
