"""MetaImage as SimpleITK writes it; a damaged or lying file is one line that names it."""

import numpy as np
import pytest
import SimpleITK as sitk

from toolkit.data.sources.metaimage import read_metaimage
from toolkit.errors import SourceError

TYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]


def write(path, dtype=np.int16, compressed=False, shape=(6, 10, 12)):
    """An oblique, anisotropic volume, axes as SimpleITK orders them (z, y, x)."""
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    image = sitk.GetImageFromArray(values)
    c, s = np.cos(0.2), np.sin(0.2)
    image.SetDirection((1, 0, 0, 0, c, -s, 0, s, c))
    image.SetSpacing((0.9, 1.1, 5.0))
    image.SetOrigin((-40.5, 12.25, 7.0))
    sitk.WriteImage(image, str(path), compressed)
    return image


def refused(path):
    with pytest.raises(SourceError) as caught:
        read_metaimage(path)
    message = str(caught.value)
    assert str(path.parent) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize("dtype", TYPES)
def test_voxels_and_their_places_are_simpleitks(tmp_path, dtype, ending, compressed):
    image = write(tmp_path / f"t1{ending}", dtype, compressed)
    read = read_metaimage(tmp_path / f"t1{ending}")
    assert read.data.dtype == dtype
    np.testing.assert_array_equal(read.data[..., 0], sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    for corner in ((0, 0, 0), (11, 0, 0), (0, 9, 0), (0, 0, 5), (11, 9, 5)):
        x, y, z = image.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose((read.affine @ [*corner, 1])[:3], [-x, -y, z], atol=1e-6)
    np.testing.assert_allclose(read.header.get_best_affine(), read.affine, atol=1e-5)


def test_big_endian_is_read(tmp_path):
    path = tmp_path / "big.mha"
    values = np.arange(24, dtype=">i2")
    header = (
        b"NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementByteOrderMSB = True\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header + values.tobytes())
    read = read_metaimage(path)
    assert read.data.dtype.isnative
    np.testing.assert_array_equal(read.data[..., 0], values.reshape(2, 3, 4).transpose(2, 1, 0))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, compressed):
    path = tmp_path / "cut.mha"
    write(path, compressed=compressed)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"DimSize = 12 10 6", b"DimSize = 99999 99999 99999", "voxels can be read"),
        (b"DimSize = 12 10 6", b"DimSize = 12 10 -6", "voxels can be read"),
        (b"DimSize = 12 10 6", b"DimSize = 12 10 7", "bytes of data where its header declares"),
        (b"NDims = 3", b"NDims = 2", "three axes"),
        (b"MET_SHORT", b"MET_STRING", "MET_STRING"),
        (b"TransformMatrix = 1", b"TransformMatrix = 0", "three directions"),
        (b"TransformMatrix = 1", b"TransformMatrix = nan", "three directions"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = ../secret.raw", "another folder"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = absent.raw", "absent.raw: no such file"),
    ],
)
def test_a_header_that_lies_is_refused_before_anything_is_read(tmp_path, old, new, says):
    path = tmp_path / "lies.mha"
    write(path)
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    assert says in refused(path)


def test_nan_is_refused(tmp_path):
    values = np.zeros((4, 4, 4), np.float32)
    values[1, 1, 1] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "nan.mha"))
    assert "NaN" in refused(tmp_path / "nan.mha")
