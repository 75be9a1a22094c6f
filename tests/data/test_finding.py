"""Findings: advice in two languages from one sentence, and their way through a file."""

import pytest

from radon_numpyro.data.findings import DataWarning, Finding, from_json, in_options, option, to_json


def test_one_sentence_advises_python_and_the_command_line():
    finding = Finding.advising(
        "what",
        "{draws}, or {num_advi_steps} and {model}",
        draws=2000,
        num_advi_steps=0,
        model="a b",
    )
    assert finding.advice == "draws=2000, or num_advi_steps=0 and model='a b'"
    assert finding.command == "--draws 2000, or --advi-steps 0 and --model 'a b'"
    assert not finding.caution
    assert option("target_accept_prob") == "--target-accept"
    assert option("max_tree_depth") == "--max-tree-depth"


def test_advice_that_names_no_argument_serves_both():
    finding = Finding("what", "coarser groups")
    assert finding.command == finding.advice
    assert finding.lines() == ["  - what", "    Try: coarser groups"]
    two = Finding("what", "chains=4", "--chains 4")
    assert two.lines(command=True) == ["  - what", "    Try: --chains 4"]
    assert str(DataWarning(two)) == "what Try: chains=4"


def test_messages_are_said_in_the_words_of_the_command_line():
    said = in_options("interrupted; resume('my run') goes on")
    assert said == "interrupted; radon-numpyro resume 'my run' goes on"
    assert in_options("Expected max_seconds=5; got none") == "Expected --max-seconds 5; got none"
    refused = "new_groups='population' draws them from the population"
    assert in_options(refused) == "--new-groups population draws them from the population"
    # What is no argument stays as it is, and so does what the user has given.
    assert in_options("got 'draws' in column y=3") == "got 'draws' in column y=3"


def test_options_of_another_fit_are_called_so():
    finding = Finding.advising("what", "{draws}", draws=2000)
    assert finding.lines(command=True, again=True)[1] == "    Try: fit again with --draws 2000"
    assert finding.lines(again=True)[1] == "    Try: draws=2000"
    words = Finding("what", "coarser groups")
    assert words.lines(command=True, again=True)[1] == "    Try: coarser groups"


def test_findings_come_back_from_a_file_as_they_were():
    findings = (Finding("a 'b' \N{MINUS SIGN}", "x", "y", caution=True), Finding("c", "d"))
    assert from_json(to_json(findings)) == findings
    assert from_json("[]") == ()


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{}x",
        "3",
        "[3]",
        '[{"what": "a"}]',
        '[{"what": "a", "advice": "b", "command": "c", "caution": 1}]',
        '[{"what": "a", "advice": "b", "command": "c", "caution": true, "more": "d"}]',
        "[" * 100_000,
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="Expected findings as to_json writes them"):
        from_json(text)
