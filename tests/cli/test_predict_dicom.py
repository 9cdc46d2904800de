"""A study in, a mask that hospital software opens out: the lesion lies where it lies in the head."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from cli.predict import main

TESTS = Path(__file__).parents[1]
files = SimpleNamespace(**runpy.run_path(str(TESTS / "toolkit/data/sources/dicom_files.py")))
SHAPE = (64, 56, 14)
LESION_RADIUS_MM = 11.0


def place_mm(columns, rows, slices):
    """Where voxels of the series lie: `(..., 3)`, LPS."""
    along_row, along_column, across = files.TILT.T
    offsets = [columns * files.COLUMN_MM, rows * files.ROW_MM, slices * files.STEP_MM]
    return files.ORIGIN_MM + sum(
        np.asarray(mm)[..., None] * axis for mm, axis in zip(offsets, (along_row, along_column, across), strict=True)
    )


HEAD_CENTRE_MM = place_mm(31.5, 27.5, 6.5)
LESION_CENTRE_MM = place_mm(22.3, 33.6, 7.4)  # between voxels, off all middles


def write_head(folder):
    """An oblique ellipsoid of tissue (300) with a ball (900) in it, in files named against their order."""
    world = place_mm(*np.indices(SHAPE))
    local = (world - HEAD_CENTRE_MM) @ files.TILT
    head = np.where(np.sum((local / [26, 28, 32]) ** 2, axis=-1) < 1, 300, 0)
    lesion = np.sum((world - LESION_CENTRE_MM) ** 2, axis=-1) < LESION_RADIUS_MM**2
    return files.write_series(folder, np.where(lesion, 900, head).astype(np.int16), SeriesDescription="T1 post Gd")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Marks what is bright."""
    made = runpy.run_path(str(TESTS / "toolkit/workflows/test_predict_geometry.py"))
    return made["model_that_marks_what_is_bright"](tmp_path_factory.mktemp("model") / "model.keras", None)


def predict(folder, model, out):
    return CliRunner().invoke(main, [str(folder), "--model", str(model), "--out", str(out)])


def test_the_lesion_is_where_it_is_and_the_seg_refers_to_its_images(tmp_path, model):
    highdicom = pytest.importorskip("highdicom")
    paths = write_head(tmp_path / "DICOM")
    result = predict(tmp_path / "DICOM", model, tmp_path / "out")
    assert result.exit_code == 0, result.output
    (case,) = json.loads((tmp_path / "out/summary.json").read_text())["cases"].values()
    assert (case["mask"], case["dicom_seg"]) == ("T1_post_Gd_mask.nii.gz", "T1_post_Gd_seg.dcm")
    assert case["volume_ml"] == pytest.approx(4 / 3 * np.pi * LESION_RADIUS_MM**3 / 1000, rel=0.15)

    image = sitk.ReadImage(str(tmp_path / "out" / case["mask"]))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(image)
    voxel = np.array([files.COLUMN_MM, files.ROW_MM, files.STEP_MM])
    off_in_voxels = (np.array(shape.GetCentroid(1)) - LESION_CENTRE_MM) @ files.TILT / voxel
    assert np.abs(off_in_voxels).max() < 0.5

    seg = highdicom.seg.segread(tmp_path / "out" / case["dicom_seg"])
    volume = seg.get_volume(combine_segments=True)
    marked = volume.map_indices_to_reference(np.argwhere(volume.array))
    np.testing.assert_allclose(marked.mean(axis=0), shape.GetCentroid(1), atol=1e-3)
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in paths}
    assert {uid for _, _, uid in seg.get_source_image_uids()} == uids


def test_without_highdicom_there_is_the_nifti_alone(tmp_path, model, monkeypatch):
    write_head(tmp_path / "DICOM")
    monkeypatch.setattr("toolkit.inference.outputs.can_write_dicom_seg", lambda: False)
    result = predict(tmp_path / "DICOM", model, tmp_path / "out")
    assert result.exit_code == 0, result.output
    (case,) = json.loads((tmp_path / "out/summary.json").read_text())["cases"].values()
    assert (case["mask"], case["dicom_seg"]) == ("T1_post_Gd_mask.nii.gz", None)
    assert (tmp_path / "out" / case["mask"]).exists()
    assert not list((tmp_path / "out").glob("*.dcm"))


def test_a_missing_slice_is_one_line_and_nothing_is_written(tmp_path, model):
    write_head(tmp_path / "DICOM")[6].unlink()
    result = predict(tmp_path / "DICOM", model, tmp_path / "out")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith(f"error: {tmp_path / 'DICOM'}")
    assert "slices lie 5 mm apart, but 10 mm from" in line
    assert not (tmp_path / "out").exists()
