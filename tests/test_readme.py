"""The README's examples run as printed, and its commands and files exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_examples_run_as_printed(capsys, monkeypatch, tmp_path):
    """One after another, as a reader types them."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(blocks) == 4
    names = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["statistics"].num_rows == len(names["frame"])
    out = capsys.readouterr().out
    assert "the draws can be trusted" in out
    assert "group" in out


def test_it_opens_with_the_two_commands_and_a_figure():
    commands = re.search(r"```console\n(.*?)```", README, flags=re.S).group(1)
    assert [line.split()[1] for line in commands.splitlines()] == [
        "./scripts/reproduce",
        "./scripts/test",
    ]
    assert README.index("./scripts/test") < README.index("![") < README.index("## ")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:figures|scripts)/[\w./]*\w", README))))
def test_files_it_names_exist(path):
    assert (ROOT / path).exists(), path
