"""Scans in, enhanced scans out: an untrained network changes nothing, and what is written lies where the scan lies."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import h5py
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy.interpolate import interp1d

from toolkit.config import check_recipe
from toolkit.errors import ModelError, SourceError, UsageError
from toolkit.models.enhancer import build_enhancer
from toolkit.models.model_file import ModelInfo, save_model
from toolkit.workflows.enhance import _diverging, enhance

DATA = Path(__file__).parents[3] / "../shared/data"
dicom = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "data/sources/dicom_files.py")))
SHAPE = (18, 21, 6)
RNG = np.random.default_rng(3)


def model_file(folder, modalities=("t1c",), kind="convlstm", trained=False):
    values = {
        "task": "segment" if kind == "none" else "enhance",
        "data": {"image_size": 32, "window": {"slices": 4, "halo": 1}},
        "model": {"enhancer": {"kind": kind, "filters": 2}},
    }
    recipe = check_recipe(values, "test")
    model = build_enhancer(recipe.model.enhancer, (4, 32, 32, len(modalities)))
    for layer in model.layers if trained else []:
        if layer.name in ("enhancer_gain_out", "enhancer_detail_out"):
            layer.set_weights([RNG.normal(0, 0.1, weight.shape) for weight in layer.get_weights()])
    info = ModelInfo(
        recipe=recipe,
        modalities=modalities,
        label_map={"tumour": 1},
        data_kind="phantom",
        data_checksums_sha256={},
        synthetic_data=True,
    )
    save_model(model, folder / "model.keras", info)
    return folder / "model.keras"


def oblique():
    affine = np.eye(4)
    affine[:3, :3] = dicom.TILT @ np.diag([0.9, 1.1, 5.0])
    affine[:3, 3] = -31.5, 20.25, -12.125
    return affine


def save_volume(path, data, slope=None):
    image = nib.Nifti1Image(data, oblique())
    image.set_qform(oblique(), code=1)
    if slope is not None:
        image.header.set_slope_inter(slope, -3.0)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("dtype", "slope"), [("int16", None), ("uint8", None), ("float32", None), ("int16", 0.5)])
def test_an_untrained_network_gives_the_volume_back(tmp_path, dtype, slope):
    data = RNG.integers(0, 250, SHAPE).astype(dtype)
    data[3, 4, 2] = np.iinfo(dtype).max if data.dtype.kind in "iu" else 1e6  # far beyond what normalisation keeps
    path = save_volume(tmp_path / "p1.nii.gz", data, slope)
    enhance([path], model_file(tmp_path), tmp_path / "out")
    before, after = nib.load(path), nib.load(tmp_path / "out/p1_enhanced.nii.gz")
    assert after.get_data_dtype() == before.get_data_dtype()
    np.testing.assert_array_equal(after.dataobj.get_unscaled(), before.dataobj.get_unscaled())
    np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(after.get_qform(), before.get_qform())
    assert (tmp_path / "out/p1_comparison.png").is_file()
    assert "p1" in json.loads((tmp_path / "out/summary.json").read_text())["cases"]


def test_each_modality_of_a_case_comes_back_in_a_file_of_its_own(tmp_path):
    case = tmp_path / "BraTS-GLI-00001-000"
    case.mkdir()
    for modality in ("t1c", "t2f"):
        data = RNG.integers(0, 900, SHAPE).astype("int16" if modality == "t1c" else "float32")
        save_volume(case / f"{case.name}-{modality}.nii.gz", data)
    enhance([case], model_file(tmp_path, ("t1c", "t2f")), tmp_path / "out")
    for modality in ("t1c", "t2f"):
        before = nib.load(case / f"{case.name}-{modality}.nii.gz")
        (file,) = (tmp_path / "out").glob(f"*_enhanced_{modality}.nii.gz")
        assert nib.load(file).get_data_dtype() == before.get_data_dtype()
        np.testing.assert_array_equal(nib.load(file).get_fdata(), before.get_fdata())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_comes_back_with_the_same_depth(tmp_path, dtype):
    picture = RNG.integers(0, np.iinfo(dtype).max, (37, 50)).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    enhance([tmp_path / "a.png"], model_file(tmp_path), tmp_path / "out")
    again = cv2.imread(str(tmp_path / "out/a_enhanced.png"), cv2.IMREAD_UNCHANGED)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, picture)


@pytest.mark.parametrize(
    "tags", [{}, {"RescaleSlope": "2.5", "RescaleIntercept": "-7"}, {"PhotometricInterpretation": "MONOCHROME1"}]
)
def test_a_dicom_series_becomes_a_derived_series_with_the_same_pixels(tmp_path, tags):
    paths = dicom.write_series(tmp_path / "scan", dicom.voxels(), **tags)
    enhance([tmp_path / "scan"], model_file(tmp_path), tmp_path / "out")
    (folder,) = (tmp_path / "out").glob("*_enhanced")
    derived = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    sources = [pydicom.dcmread(file) for file in paths]
    assert len({one.SeriesInstanceUID for one in derived}) == 1
    assert not {one.SOPInstanceUID for one in derived} & {one.SOPInstanceUID for one in sources}
    for one, source in zip(derived, sources, strict=True):
        np.testing.assert_array_equal(one.pixel_array, source.pixel_array)
        assert one.ImagePositionPatient == source.ImagePositionPatient
        assert one.get("RescaleSlope") == source.get("RescaleSlope")
        assert one.SeriesInstanceUID != source.SeriesInstanceUID
        assert list(one.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        assert one.SeriesDescription == "t1_mprage enhanced"
        assert "model.keras" in one.DerivationDescription


def test_a_header_that_cannot_be_taken_over_is_named(tmp_path):
    for path in dicom.write_series(tmp_path / "scan", dicom.voxels()):
        slice_ = pydicom.dcmread(path)
        slice_.PixelData = slice_.pixel_array.astype(">i2").tobytes()
        slice_.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        pydicom.dcmwrite(path, slice_, implicit_vr=False, little_endian=False, force_encoding=True)
    with pytest.raises(SourceError, match=r"dcmconv \+te"):
        enhance([tmp_path / "scan"], model_file(tmp_path), tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("dtype", "lowest", "written"),
    [("int16", 0, "png"), ("uint8", 0, "png"), ("int16", -9, "tif"), ("float64", 0, "tif")],
)
def test_a_mat_comes_back_as_a_picture_that_holds_its_values(tmp_path, dtype, lowest, written):
    image = RNG.integers(lowest, 250, (20, 30)).astype(dtype) / (1 if dtype != "float64" else 300)
    with h5py.File(tmp_path / "1.mat", "w") as file:
        file["cjdata/image"] = image.astype(dtype).T
    enhance([tmp_path / "1.mat"], model_file(tmp_path), tmp_path / "out")
    again = cv2.imread(str(tmp_path / f"out/1_enhanced.{written}"), cv2.IMREAD_UNCHANGED)
    assert again.dtype == ("uint16" if written == "png" else dtype)
    np.testing.assert_array_equal(again, image)


def corners_mm(image):
    """The eight outer corners of a volume, as SimpleITK places them."""
    size = np.array(image.GetSize())
    indices = np.array(np.meshgrid(*([0, 1],) * 3)).reshape(3, -1).T * size - 0.5
    return np.array([image.TransformContinuousIndexToPhysicalPoint(index.tolist()) for index in indices])


def test_doubling_keeps_the_corners_of_volume_and_series_where_they_are(tmp_path):
    model = model_file(tmp_path)
    volume = save_volume(tmp_path / "p1.nii.gz", RNG.integers(0, 900, SHAPE).astype(np.int16))
    files = dicom.write_series(tmp_path / "scan", dicom.voxels())
    enhance([volume, tmp_path / "scan"], model, tmp_path / "out", upsample=2)
    (folder,) = (path for path in (tmp_path / "out").glob("*_enhanced") if path.is_dir())
    doubled = [tmp_path / "out/p1_enhanced.nii.gz", [str(file) for file in sorted(folder.iterdir())]]
    for before, after in zip((volume, [str(file) for file in files]), doubled, strict=True):
        old, new = (sitk.ReadImage(path if isinstance(path, list) else str(path)) for path in (before, after))
        assert new.GetSize() == (2 * old.GetSize()[0], 2 * old.GetSize()[1], old.GetSize()[2])
        np.testing.assert_allclose(corners_mm(new), corners_mm(old), atol=1e-3)


def test_missing_slices_are_interpolated_and_named(tmp_path):
    data = RNG.integers(1, 900, SHAPE).astype(np.int16)
    data[..., [2, 3]] = 0
    path = save_volume(tmp_path / "p1.nii.gz", data)
    summary = enhance([path], model_file(tmp_path), tmp_path / "out", fill_missing=True)
    there = [0, 1, 4, 5]
    expected = np.rint(interp1d(there, data[..., there].astype(np.float32), axis=2)(np.arange(6)))
    after = nib.load(tmp_path / "out/p1_enhanced.nii.gz").get_fdata()
    np.testing.assert_allclose(after, expected, atol=1)  # halves may be rounded either way
    assert summary["cases"]["p1"]["filled_slices"] == [3, 4]


@pytest.mark.parametrize("upsample", [1, 2])
def test_slices_a_dicom_series_lacks_are_interpolated_and_get_files_of_their_own(tmp_path, upsample):
    data = dicom.voxels((7, 9, 8))
    paths = dicom.write_series(tmp_path / "scan", data)
    gone = [2, 3, 6]
    for number in gone:
        paths[number].unlink()
    with pytest.raises(SourceError, match="find the missing ones"):
        enhance([tmp_path / "scan"], model_file(tmp_path), tmp_path / "out")
    summary = enhance([tmp_path / "scan"], model_file(tmp_path), tmp_path / "out", fill_missing=True, upsample=upsample)
    (case,) = summary["cases"].values()
    assert case["filled_slices"] == []
    assert list(case["filled_series_slices"].values()) == [[3, 4, 7]]
    derived = [pydicom.dcmread(file) for file in sorted((tmp_path / "out" / case["enhanced"][0]).iterdir())]
    assert [one.InstanceNumber for one in derived] == [*range(1, 9)]
    positions = np.array([one.ImagePositionPatient for one in derived], float)
    np.testing.assert_allclose(np.diff(positions, axis=0), np.broadcast_to(positions[1] - positions[0], (7, 3)))
    if upsample == 1:
        there = [0, 1, 4, 5, 7]
        expected = interp1d(there, data[..., there].astype(np.float32), axis=2)(np.arange(8))
        after = np.stack([one.pixel_array.T for one in derived], axis=2)
        np.testing.assert_allclose(after, expected, atol=1)
        np.testing.assert_allclose(positions, [dicom.position_mm(number) for number in range(8)], atol=1e-3)


def test_a_broken_scan_is_named_and_the_rest_is_finished(tmp_path):
    save_volume(tmp_path / "good.nii.gz", RNG.integers(0, 900, SHAPE).astype(np.int16))
    (tmp_path / "bad.nii.gz").write_bytes(b"no volume")
    summary = enhance([tmp_path / "bad.nii.gz", tmp_path / "good.nii.gz"], model_file(tmp_path), tmp_path / "out")
    assert list(summary["cases"]) == ["good"]
    assert "bad.nii.gz" in next(iter(summary["failed"]))


def test_nothing_takes_the_place_of_an_input_or_of_another_series(tmp_path):
    model = model_file(tmp_path)
    for name in ("a", "a_enhanced"):
        save_volume(tmp_path / f"{name}.nii.gz", RNG.integers(0, 900, SHAPE).astype(np.int16))
    with pytest.raises(UsageError, match="choose another --out"):
        enhance([tmp_path / "a.nii.gz", tmp_path / "a_enhanced.nii.gz"], model, tmp_path)
    dicom.write_series(tmp_path / "scan", dicom.voxels())
    enhance([tmp_path / "scan"], model, tmp_path / "out")
    (folder,) = (path for path in (tmp_path / "out").glob("*_enhanced") if path.is_dir())
    (folder / "notes.txt").write_text("of the user")
    with pytest.raises(SourceError, match="no earlier result"):
        enhance([tmp_path / "scan"], model, tmp_path / "out")


def test_a_series_of_the_user_is_not_taken_for_an_earlier_result(tmp_path):
    model = model_file(tmp_path)
    dicom.write_series(tmp_path / "T1", dicom.voxels())
    enhance([tmp_path / "T1"], model, tmp_path / "once")
    (name,) = (path.name for path in (tmp_path / "once").glob("*_enhanced") if path.is_dir())
    own = dicom.write_series(tmp_path / name, dicom.voxels())
    before = [file.read_bytes() for file in own]
    with pytest.raises(SourceError, match="no earlier result"):
        enhance([tmp_path / "T1"], model, tmp_path)
    assert [file.read_bytes() for file in own] == before


def test_a_second_run_takes_the_place_of_the_first(tmp_path):
    model = model_file(tmp_path)
    files = dicom.write_series(tmp_path / "scan", dicom.voxels())
    enhance([tmp_path / "scan"], model, tmp_path / "out")
    (folder,) = (path for path in (tmp_path / "out").glob("*_enhanced") if path.is_dir())
    longer = folder / "9999.dcm"
    longer.write_bytes((folder / "0001.dcm").read_bytes())
    enhance([tmp_path / "scan"], model, tmp_path / "out")
    assert len(list(folder.iterdir())) == len(files)


def test_a_model_without_enhancer_is_refused(tmp_path):
    save_volume(tmp_path / "p1.nii.gz", RNG.integers(0, 900, SHAPE).astype(np.int16))
    with pytest.raises(ModelError, match="has no enhancer"):
        enhance([tmp_path / "p1.nii.gz"], model_file(tmp_path, kind="none"), tmp_path / "out")


def test_colours_of_a_correction_are_red_above_white_at_and_blue_below_zero():
    low, none, high = _diverging(np.array([[-2.0, 0.0, 2.0]]))[0].tolist()
    assert low[2] > low[0]
    assert none == [255, 255, 255]
    assert high[0] > high[2]


@pytest.mark.real_scans
@pytest.mark.parametrize(
    "pattern", ["tcia_progression/01/Post_Scan_T1.nii.gz", "lgg/*/*_t1ce.nii.gz", "figshare/full_size/*.mat"]
)
def test_a_real_scan_passes_an_untrained_network_unchanged(tmp_path, pattern):
    path = next(iter(sorted(DATA.glob(pattern))), None)
    if path is None:
        pytest.skip(f"no {pattern} here")
    summary = enhance([path], model_file(tmp_path), tmp_path / "out")
    (case,) = summary["cases"].values()
    assert case["mean_absolute_correction"] == {"t1c": 0.0}
