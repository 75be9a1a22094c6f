"""Findings of checks: what was found, how serious it is, and what to try in Python or a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

# Arguments of Python whose options have other names.
_OPTIONS = {
    "num_advi_steps": "--advi-steps",
    "target_accept_prob": "--target-accept",
    "device": "--platform",
}
# Arguments in messages that are also options of the command line.
_ARGUMENTS = (
    "chains",
    "checkpoint",
    "ci_kind",
    "ci_prob",
    "device",
    "draws",
    "max_seconds",
    "max_tree_depth",
    "method",
    "model",
    "new_groups",
    "nodes",
    "num_advi_steps",
    "num_warmup",
    "target_accept_prob",
    "target_ess",
)


@dataclass(frozen=True)
class Finding:
    """One finding of a check, and what to try.

    Attributes
    ----------
    what
        What was found, with numbers and names.
    advice
        What to try, with arguments of the Python functions.
    command
        What to try, with options of the command line; if empty, ``advice`` is used.
    caution
        Whether the numbers remain valid, but must be read with the finding in mind. If not, some
        numbers are meaningless or not yet to be trusted.
    """

    what: str
    advice: str
    command: str = ""
    caution: bool = False

    def __post_init__(self) -> None:
        if not self.command:
            object.__setattr__(self, "command", self.advice)

    @classmethod
    def advising(
        cls, what: str, template: str, *, caution: bool = False, **arguments: Any
    ) -> Finding:
        """Make a finding whose advice for Python and the command line comes from one sentence.

        The sentence ``"{draws}, or {chains}"`` with ``draws=2000, chains=8`` advises
        ``draws=2000, or chains=8`` and ``--draws 2000, or --chains 8``.

        Parameters
        ----------
        what, caution
            As in the finding.
        template
            The sentence, with names of arguments of :func:`radon_numpyro.fit` in braces.
        **arguments
            Values of these arguments.
        """
        python = {name: f"{name}={value!r}" for name, value in arguments.items()}
        shell = {name: f"{option(name)} {shlex.quote(str(v))}" for name, v in arguments.items()}
        return cls(what, template.format(**python), template.format(**shell), caution)

    def lines(self, *, command: bool = False, again: bool = False) -> list[str]:
        """Return the finding and the advice as two lines of a list.

        Parameters
        ----------
        command
            Whether to name options of the command line instead of arguments of Python.
        again
            Whether to say that the options are for another fit.
        """
        advice = self.command if command else self.advice
        of_fit = "fit again with " if again and advice.startswith("--") else ""
        return [f"  - {self.what}", f"    Try: {of_fit}{advice}"]


class DataWarning(UserWarning):
    """A finding about the data of a fit, or about its priors.

    Attributes
    ----------
    finding
        The finding.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(f"{finding.what} Try: {finding.advice}")
        self.finding = finding


def option(argument: str) -> str:
    """Return the option of the command line for an argument of :func:`radon_numpyro.fit`.

    Parameters
    ----------
    argument
        Name of the argument.
    """
    return _OPTIONS.get(argument, "--" + re.sub("_", "-", argument))


def in_options(text: str) -> str:
    """Translate a message of the package to options of the command line.

    Parameters
    ----------
    text
        The message, with arguments such as ``draws=1000`` and calls such as ``resume('run')``.
    """
    text = re.sub(
        r"resume\('([^']*)'\)", lambda found: f"radon-numpyro resume {shlex.quote(found[1])}", text
    )
    arguments = "|".join(_ARGUMENTS)
    return re.sub(
        rf"\b({arguments})=('[^']*'|[\w.]+)",
        lambda found: f"{option(found[1])} {found[2].strip(chr(39))}",
        text,
    )


def to_json(findings: Iterable[Finding]) -> str:
    """Write findings as JSON for an attribute of a result.

    Parameters
    ----------
    findings
        The findings in order.
    """
    return json.dumps([asdict(finding) for finding in findings])


def from_json(text: str) -> tuple[Finding, ...]:
    """Read findings from the JSON of :func:`to_json`.

    Parameters
    ----------
    text
        JSON as :func:`to_json` writes it.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    try:
        return tuple(_checked(json.loads(text)))
    except (AttributeError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"Expected findings as to_json writes them; got {text[:500]}") from error


def _checked(records: Any) -> Iterator[Finding]:
    kinds = {"what": str, "advice": str, "command": str, "caution": bool}
    for record in records:
        if {name: type(value) for name, value in record.items()} != kinds:
            raise TypeError(f"Expected what, advice, command and caution; got {record!r}")
        yield Finding(**record)
