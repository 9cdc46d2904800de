"""Volumes are read as they are; a damaged or lying file is one line that names it."""

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from toolkit.data.sources import nifti
from toolkit.data.sources.nifti import read_nifti
from toolkit.errors import SourceError

AFFINE = np.array([[-0.9, 0, 0, 90.0], [0, -1.1, 0, 120.0], [0, 0, 5.0, -60.0], [0, 0, 0, 1]])


def volume(dtype=np.int16, shape=(12, 10, 6)):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def save(path, data, image_class=nib.Nifti1Image, affine=AFFINE, **header):
    image = image_class(data, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def save_raw(path, stored, slope, inter):
    """A file whose header scales, with exactly these stored numbers."""
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    block = bytearray(path.read_bytes())
    start = int(image.header.single_vox_offset)
    block[start:] = stored.tobytes(order="F")
    block[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(block)
    return path


def refused(path):
    """The message of the SourceError: one line that begins with the file."""
    with pytest.raises(SourceError) as caught:
        read_nifti(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_values_type_and_affine_are_those_stored(tmp_path, dtype, ending):
    data = volume(dtype)
    read = read_nifti(save(tmp_path / f"t1{ending}", data))
    np.testing.assert_array_equal(read.data[..., 0], data)
    assert read.data.dtype == dtype
    np.testing.assert_allclose(read.affine, AFFINE, atol=1e-6)


def test_nifti_2_big_endian_and_a_wrong_ending_are_read_too(tmp_path):
    data = volume()
    two = read_nifti(save(tmp_path / "two.nii.gz", data, nib.Nifti2Image))
    swapped = nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(swapped, tmp_path / "big.nii")
    packed = tmp_path / "packed.nii"
    packed.write_bytes(gzip.compress((tmp_path / "big.nii").read_bytes()))
    for read in (two, read_nifti(tmp_path / "big.nii"), read_nifti(packed)):
        np.testing.assert_array_equal(read.data[..., 0], data)
        assert read.data.dtype.isnative
        np.testing.assert_allclose(read.affine, AFFINE, atol=1e-6)


def test_slope_and_intercept_are_applied(tmp_path):
    stored = volume()
    read = read_nifti(save_raw(tmp_path / "scaled.nii", stored, slope=0.5, inter=-20.0))
    np.testing.assert_allclose(read.data[..., 0], stored * 0.5 - 20.0)
    assert read.data.dtype == np.float32


@pytest.mark.parametrize("volumes", [1, 2, 4])
def test_a_4d_file_is_read_volume_by_volume_in_its_order(tmp_path, volumes):
    data = volume(shape=(12, 10, 6, volumes))
    np.testing.assert_array_equal(read_nifti(save(tmp_path / "some.nii.gz", data)).data, data)


def test_an_array_of_five_axes_is_refused(tmp_path):
    assert "(12, 10, 6, 1, 2)" in refused(save(tmp_path / "five.nii.gz", volume(shape=(12, 10, 6, 1, 2))))


def test_the_limit_counts_the_bytes_that_are_kept(tmp_path, monkeypatch):
    wide, scaled = save(tmp_path / "wide.nii", volume(np.float64)), tmp_path / "scaled.nii"
    save_raw(scaled, volume(), slope=0.5, inter=-20.0)
    for path, size in ((wide, 720 * 8), (scaled, 720 * 4)):
        monkeypatch.setattr(nifti, "MAX_BYTES", size)
        assert read_nifti(path).data.nbytes == size
        monkeypatch.setattr(nifti, "MAX_BYTES", size - 1)
        assert "over the limit" in refused(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_no_network_can_take_are_refused(tmp_path, bad):
    data = volume(np.float64)
    data[3, 3, 3] = bad
    assert "NaN, infinity" in refused(save(tmp_path / "nan.nii.gz", data))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.98])
def test_a_file_cut_short_is_refused(tmp_path, ending, keep):
    path = save(tmp_path / f"cut{ending}", volume())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refused(path)


def test_a_compressed_file_with_a_flipped_bit_is_refused(tmp_path):
    path = save(tmp_path / "flipped.nii.gz", volume())
    # Stored, not compressed, so that only the checksum can tell.
    packed = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    assert "CRC" in refused(path)


def test_a_header_that_declares_gigabytes_allocates_nothing(tmp_path):
    huge = save(tmp_path / "huge.nii.gz", volume(), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    set_dimensions(huge, (32767, 32767, 32767))
    tracemalloc.start()
    message = refused(huge)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "limit" in message
    assert peak < 10e6


def set_dimensions(path, shape):
    """Let the header of a .nii or .nii.gz lie about its size."""
    compressed = path.suffix == ".gz"
    block = bytearray(gzip.decompress(path.read_bytes()) if compressed else path.read_bytes())
    block[42:48] = np.array(shape, "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(block)) if compressed else bytes(block))


def test_a_header_that_declares_more_than_the_file_holds_is_refused_before_reading(tmp_path, monkeypatch):
    path = save(tmp_path / "short.nii", volume())
    set_dimensions(path, (512, 512, 512))
    monkeypatch.setattr(nifti, "ArrayProxy", None)
    assert f"has {352 + 12 * 10 * 6 * 2} bytes where its header declares {352 + 512**3 * 2}" in refused(path)


@pytest.mark.parametrize("length", [0, -5])
def test_a_volume_without_voxels_is_refused(tmp_path, length):
    path = save(tmp_path / "empty.nii.gz", volume())
    set_dimensions(path, (12, length, 6))
    assert "no voxels" in refused(path)


def test_pictures_in_colour_complex_numbers_and_flat_arrays_are_refused(tmp_path):
    colour = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "not intensities" in refused(save(tmp_path / "rgb.nii.gz", colour))
    assert "not intensities" in refused(save(tmp_path / "complex.nii.gz", volume(np.complex64)))
    assert "no volumes" in refused(save(tmp_path / "flat.nii.gz", volume(shape=(12, 10))))


def test_an_affine_without_directions_is_refused(tmp_path):
    path = save(tmp_path / "flat.nii", volume(), sform_code=1)
    block = bytearray(path.read_bytes())
    block[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    path.write_bytes(block)
    assert "sform" in refused(path)


def test_what_is_no_nifti_at_all_is_refused(tmp_path):
    (tmp_path / "text.nii").write_text("not a scan " * 100)
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not a scan " * 100))
    for path in (tmp_path / "text.nii", tmp_path / "text.nii.gz"):
        assert "not a NIfTI file" in refused(path)
    assert "no such file" in refused(tmp_path / "missing.nii")


def test_no_damaged_header_raises_anything_but_our_own_error(tmp_path):
    """Random bytes over a true header: read or refused, never a traceback."""
    path = save(tmp_path / "fuzzed.nii", volume())
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        block = np.frombuffer(whole, np.uint8).copy()
        block[random.integers(0, 352, 4)] = random.integers(0, 256, 4)
        path.write_bytes(block.tobytes())
        outcomes.add(outcome(path))
    assert outcomes == {"read", "refused"}


def outcome(path):
    try:
        read_nifti(path)
    except SourceError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    return "read"
