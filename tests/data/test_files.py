import os

import pytest

from radon_numpyro.data.files.whole_files import check_writable, write_whole


def test_a_file_appears_under_its_name_with_its_suffix(tmp_path):
    seen = []

    def write(path):
        seen.append(path)
        path.write_text("new")

    target = tmp_path / "made" / "on the way" / "summary.json"
    assert write_whole(target, write) == target
    assert target.read_text() == "new"
    # Writers such as matplotlib's go by the suffix.
    assert seen[0].suffix == ".json"
    assert seen[0] != target
    assert [p.name for p in target.parent.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path, error):
    def fail(path):
        path.write_text("half")
        raise error

    target = tmp_path / "summary.json"
    target.write_text("old")
    with pytest.raises(type(error)):
        write_whole(target, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]
    assert target.read_text() == "old"


def test_a_place_that_can_be_written_passes_and_nothing_is_made(tmp_path):
    check_writable(tmp_path / "not" / "yet" / "there.nc")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_inside_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(NotADirectoryError, match=r"Expected .*sub to be in a folder; got the file"):
        check_writable(tmp_path / "file" / "sub")


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    # Not by its mode: root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    with pytest.raises(PermissionError, match=r"Expected .*fit\.nc to be writable; got no"):
        check_writable(tmp_path / "fit.nc")
