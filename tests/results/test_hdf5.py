"""HDF5 files from anyone: what points elsewhere, lies about its size or is damaged is refused."""

import h5py
import numpy as np
import pytest

from radon_numpyro.results.hdf5 import MAX_OBJECTS, check_hdf5, seal


@pytest.fixture
def plain(tmp_path):
    """A file with a group, numbers, text and attributes."""
    path = tmp_path / "plain.nc"
    with h5py.File(path, "w") as file:
        group = file.create_group("posterior")
        group["alpha"] = np.arange(6.0).reshape(2, 3)
        group["town"] = ["São Paulo", "", "東京"]
        group.attrs["note"] = "a fit"
        group.attrs["dims"] = ["chain", "draw"]
        file.attrs["complete"] = 1
    return path


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_a_plain_file_passes_sealed_or_not(plain):
    check_hdf5(plain)
    before = plain.stat().st_size
    seal(plain)
    check_hdf5(plain)
    assert plain.stat().st_size > before
    with h5py.File(plain) as file:
        assert file["posterior/alpha"][1, 2] == 5.0


def test_a_change_by_another_program_takes_the_seal_off(plain):
    seal(plain)
    changed(plain, lambda file: file.attrs.create("complete", 0))
    check_hdf5(plain)


def test_every_changed_byte_of_a_sealed_file_is_noticed(plain):
    seal(plain)
    whole = plain.read_bytes()
    for position in range(8, len(whole) - 73, 97):
        plain.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        with pytest.raises(ValueError, match=r"Expected .*plain\.nc as it was written; got other"):
            check_hdf5(plain)


def test_what_is_no_file_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected .*no\.nc to be a file; got nothing"):
        check_hdf5(tmp_path / "no.nc")
    with pytest.raises(IsADirectoryError, match=r"Expected .* to be a file; got a folder"):
        check_hdf5(tmp_path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b"county,floor\nAITKIN,1\n", "one that begins with b'county,f'"),
        (b"PK\x03\x04" + bytes(20), "one that begins with"),
        (b"CDF\x01" + bytes(40), "one that begins with b'CDF"),
    ],
)
def test_other_formats_are_refused_by_their_first_bytes(tmp_path, content, got):
    path = tmp_path / "fit.nc"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"to be a netCDF-4 file \(HDF5\); got {got}"):
        check_hdf5(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(plain, share):
    seal(plain)
    whole = plain.read_bytes()
    plain.write_bytes(whole[: max(9, int(share * (len(whole) - 100)))])
    with pytest.raises(ValueError, match=r"to be an undamaged netCDF-4 file \(HDF5\); got OSError"):
        check_hdf5(plain)


def outside(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["alpha"] = np.arange(3.0)
    return secret


def external_link(file, folder):
    file["posterior/beta"] = h5py.ExternalLink(str(outside(folder)), "/alpha")


def soft_link(file, folder):
    file["posterior/beta"] = h5py.SoftLink("/posterior/alpha")


def virtual(file, folder):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(outside(folder)), "alpha", shape=(3,))
    file["posterior"].create_virtual_dataset("beta", layout)


def raw_elsewhere(file, folder):
    (folder / "raw").write_bytes(bytes(24))
    file["posterior"].create_dataset(
        "beta", (3,), "f8", external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)]
    )


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (external_link, "an external link 'beta' in /posterior, which is not followed"),
        (soft_link, "a soft link 'beta' in /posterior, which is not followed"),
        (virtual, "a virtual dataset at /posterior/beta, which is not followed"),
        (raw_elsewhere, "data in another file at /posterior/beta, which is not followed"),
    ],
)
def test_what_points_outside_of_the_file_is_not_followed(plain, tmp_path, change, got):
    changed(plain, lambda file: change(file, tmp_path))
    with pytest.raises(ValueError, match=f"to hold its data itself; got {got}"):
        check_hdf5(plain)


def test_a_group_inside_itself_is_no_endless_walk(plain):
    changed(plain, lambda file: file.__setitem__("posterior/again", file["posterior"]))
    with pytest.raises(ValueError, match="to name each object once; got /posterior"):
        check_hdf5(plain)


def test_very_many_objects_are_refused(plain):
    def add(file):
        for k in range(MAX_OBJECTS):
            file.create_group(f"g{k}")

    changed(plain, add)
    with pytest.raises(ValueError, match=f"at most {MAX_OBJECTS} groups and variables; got more"):
        check_hdf5(plain)


def huge_numbers(file):
    file.create_dataset("bomb", (10**9, 10**6), "f8", chunks=(1000, 1000))


def long_text_many_times(file):
    """Every entry of a later dataset refers to one long text in the file's heap."""
    text = "x" * 2**20
    one = file.create_dataset("one", (1,), h5py.string_dtype())
    one[0] = text
    dataset = file.create_dataset("many", (4000,), h5py.string_dtype(), chunks=(4000,))
    dataset[:1] = [text]
    pointer = dataset.id.read_direct_chunk((0,))[1][:16]
    dataset.id.write_direct_chunk((0,), pointer * 4000)


@pytest.mark.parametrize("bomb", [huge_numbers, long_text_many_times])
def test_a_small_file_that_unpacks_to_a_huge_one_is_refused_unread(plain, bomb):
    changed(plain, bomb)
    assert plain.stat().st_size < 2**23
    with pytest.raises(ValueError, match=r"to hold at most 1073741824 bytes of data; got more, in"):
        check_hdf5(plain)


def test_a_large_honest_file_is_not_a_bomb(plain, monkeypatch):
    monkeypatch.setattr("radon_numpyro.results.hdf5.MAX_BYTES", 100)
    changed(plain, lambda file: file.create_dataset("large", data=np.ones(1000)))
    check_hdf5(plain)


@pytest.mark.parametrize(
    ("shape", "dtype", "got"),
    [
        ((3,), complex, "of type complex128"),
        ((3,), [("a", "f8"), ("b", "i4")], "of type"),
        ((3,), h5py.vlen_dtype(float), "of type object"),
        ((3,), h5py.ref_dtype, "of type object"),
        ((1, 2), h5py.string_dtype(), r"of type object and shape \(1, 2\)"),
    ],
)
def test_other_types_than_numbers_and_text_are_refused(plain, shape, dtype, got):
    changed(plain, lambda file: file.create_dataset("odd", shape, dtype))
    with pytest.raises(ValueError, match=f"to hold real numbers, and text .*got /odd {got}"):
        check_hdf5(plain)


def test_an_attribute_of_very_many_texts_is_refused(plain):
    changed(plain, lambda file: file.attrs.create("many", ["a"] * 65))
    with pytest.raises(ValueError, match="attributes of at most 64 texts; got"):
        check_hdf5(plain)
