"""A DICOM SEG lies on the slices it was made from, says what it is, and names its source images."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from toolkit.data.sources.dicom import find_series
from toolkit.errors import OutputError, SourceError
from toolkit.inference import dicom_seg
from toolkit.inference.dicom_seg import can_write_dicom_seg, write_dicom_seg

highdicom = pytest.importorskip("highdicom")
files = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "data/sources/dicom_files.py")))
LABELS = {"background": 0, "oedema": 2, "enhancing_tumour": 4, "necrotic_core": 1}


@pytest.fixture
def mask():
    labels = np.zeros((7, 9, 5), np.uint8)
    labels[1:4, 2:7, 1:4] = 2
    labels[4, 2, 3] = 2
    labels[2, 3:5, 2] = 4
    labels[3, 4, 2] = 1
    return labels


def series_of(folder):
    (series,) = find_series(sorted(folder.rglob("*.dcm")))
    return series


def plain(folder):
    files.write_series(folder, files.voxels())


def enhanced(folder):
    files.write_enhanced(folder / "enhanced.dcm", files.voxels(), order=[3, 0, 4, 1, 2])


def indices(series, points_lps):
    """Voxels `(n, 3)` of the series at points in mm, all of them at the centres of voxels."""
    points = np.column_stack([np.asarray(points_lps) * [-1, -1, 1], np.ones(len(points_lps))])
    index = np.linalg.solve(series.affine, points.T).T[:, :3]
    np.testing.assert_allclose(index, index.round(), atol=1e-6)
    return index.round().astype(int)


def place_of_segments(path, series, shape):
    """Segment numbers `(columns, rows, slices)`, each frame put where its position says."""
    dataset = pydicom.dcmread(path)
    frames = np.reshape(dataset.pixel_array, (-1, shape[1], shape[0]))
    placed = np.zeros(shape, np.uint8)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        segment = (groups if "SegmentIdentificationSequence" in groups else shared).SegmentIdentificationSequence[0]
        column, row, index = indices(series, [groups.PlanePositionSequence[0].ImagePositionPatient])[0]
        assert (column, row) == (0, 0)
        placed[..., index][frame.T != 0] = segment.ReferencedSegmentNumber
    return placed


@pytest.mark.parametrize("write", [plain, enhanced])
def test_each_label_is_a_segment_at_its_place(tmp_path, mask, write):
    write(tmp_path / "scan")
    series = series_of(tmp_path / "scan")
    path = write_dicom_seg(series, mask, LABELS, tmp_path / "out" / "p1_seg.dcm", "unet-b0")
    expected = np.array([0, 3, 1, 0, 2], np.uint8)[mask]
    np.testing.assert_array_equal(place_of_segments(path, series, mask.shape), expected)

    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    found = np.argwhere(volume.array)
    index = indices(series, volume.map_indices_to_reference(found))
    values = np.zeros_like(expected)
    values[tuple(index.T)] = volume.array[tuple(found.T)]
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("write", [plain, enhanced])
def test_every_frame_names_the_image_it_was_made_from(tmp_path, mask, write):
    write(tmp_path / "scan")
    series = series_of(tmp_path / "scan")
    dataset = pydicom.dcmread(write_dicom_seg(series, mask, LABELS, tmp_path / "seg.dcm", "unet-b0"))
    sources = {pydicom.dcmread(file).SOPInstanceUID for file in series.files}
    (referenced,) = dataset.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == series.series_uid
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == sources
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        (image,) = groups.DerivationImageSequence[0].SourceImageSequence
        place = files.decimals(groups.PlanePositionSequence[0].ImagePositionPatient)
        (frame,) = [f for f in series.frames if np.allclose(f.position_mm, place)]
        assert image.ReferencedSOPInstanceUID == pydicom.dcmread(frame.file).SOPInstanceUID
        assert image.get("ReferencedFrameNumber", 1) == frame.index + 1


def test_segments_are_coded_so_that_other_software_knows_them(tmp_path, mask):
    plain(tmp_path / "scan")
    dataset = pydicom.dcmread(
        write_dicom_seg(series_of(tmp_path / "scan"), mask, LABELS, tmp_path / "seg.dcm", "unet-b0")
    )
    told = [
        (s.SegmentNumber, s.SegmentLabel, s.SegmentedPropertyTypeCodeSequence[0].CodeValue)
        for s in dataset.SegmentSequence
    ]
    assert told == [(1, "oedema", "79654002"), (2, "enhancing_tumour", "108369006"), (3, "necrotic_core", "6574001")]
    for segment in dataset.SegmentSequence:
        assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"
        assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "unet-b0")
    assert (dataset.SegmentationType, dataset.PatientID, dataset.StudyInstanceUID) == ("BINARY", "P1", "1.2.3.4")


def test_simpleitk_opens_it_with_the_spacing_of_the_scan(tmp_path):
    # Sides of 8: SimpleITK takes each frame of bits to begin with a byte of its own.
    files.write_series(tmp_path / "scan", files.voxels((8, 8, 5)))
    series = series_of(tmp_path / "scan")
    tumour = np.zeros((8, 8, 5), np.uint8)
    tumour[1:4, 2:7, 1:3] = tumour[4, 2, 2] = 1
    image = sitk.ReadImage(str(write_dicom_seg(series, tumour, {"tumour": 1}, tmp_path / "seg.dcm", "unet-b0")))
    points = [
        image.TransformIndexToPhysicalPoint(index[::-1].tolist())
        for index in np.argwhere(sitk.GetArrayFromImage(image))
    ]
    assert {*map(tuple, indices(series, points))} == {*map(tuple, np.argwhere(tumour))}
    np.testing.assert_allclose(image.GetSpacing(), (files.COLUMN_MM, files.ROW_MM, files.STEP_MM), atol=1e-6)


@pytest.mark.parametrize("write", [plain, enhanced])
def test_a_mask_without_tumour_is_a_readable_file_of_empty_segments(tmp_path, write):
    write(tmp_path / "scan")
    series = series_of(tmp_path / "scan")
    path = write_dicom_seg(series, np.zeros((7, 9, 5), np.uint8), LABELS, tmp_path / "seg.dcm", "unet-b0")
    seg = highdicom.seg.segread(path)
    assert seg.number_of_segments == 3
    assert not seg.pixel_array.any()


def test_of_two_echoes_in_one_file_only_the_segmented_one_is_named(tmp_path, mask):
    files.write_enhanced(tmp_path / "two.dcm", files.voxels(), order=range(5), echoes=(10.0, 90.0))
    _, second = find_series([tmp_path / "two.dcm"])
    path = write_dicom_seg(second, mask, LABELS, tmp_path / "seg.dcm", "unet-b0")
    np.testing.assert_array_equal(place_of_segments(path, second, mask.shape) != 0, mask != 0)
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    named = {g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for g in groups}
    assert named == {7, 8, 9}


def test_what_anonymisers_drop_or_round_is_no_obstacle(tmp_path, mask):
    def edit(dataset, number):
        for name in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime", "SliceThickness"):
            delattr(dataset, name)
        dataset.ImageOrientationPatient[0] += 1e-7 * number

    files.write_series(tmp_path / "scan", files.voxels(), edit=edit)
    series = series_of(tmp_path / "scan")
    path = write_dicom_seg(series, mask, LABELS, tmp_path / "seg.dcm", "unet-b0")
    np.testing.assert_array_equal(place_of_segments(path, series, mask.shape) != 0, mask != 0)


def test_without_a_frame_of_reference_nothing_is_written(tmp_path, mask):
    files.write_series(tmp_path / "scan", files.voxels(), edit=lambda dataset, _: dataset.pop("FrameOfReferenceUID"))
    with pytest.raises(SourceError, match="Frame Of Reference") as caught:
        write_dicom_seg(series_of(tmp_path / "scan"), mask, LABELS, tmp_path / "seg.dcm", "unet-b0")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_source_file_that_is_gone_is_named(tmp_path, mask):
    plain(tmp_path / "scan")
    series = series_of(tmp_path / "scan")
    series.files[2].unlink()
    with pytest.raises(SourceError, match=series.files[2].name):
        write_dicom_seg(series, mask, LABELS, tmp_path / "seg.dcm", "unet-b0")


def test_a_mask_of_another_scan_or_with_unknown_labels_is_a_mistake(tmp_path, mask):
    plain(tmp_path / "scan")
    series = series_of(tmp_path / "scan")
    with pytest.raises(ValueError, match="does not fit"):
        write_dicom_seg(series, mask.transpose(1, 0, 2), LABELS, tmp_path / "seg.dcm", "unet-b0")
    with pytest.raises(ValueError, match=r"labels \[0, 1, 2, 4\]"):
        write_dicom_seg(series, mask, {"tumour": 1}, tmp_path / "seg.dcm", "unet-b0")


def test_without_highdicom_the_message_says_what_to_install(tmp_path, mask, monkeypatch):
    assert can_write_dicom_seg()
    monkeypatch.setattr(dicom_seg, "find_spec", lambda name: None)
    plain(tmp_path / "scan")
    with pytest.raises(OutputError, match=r"brain-tumour-segmentation\[dicom\]"):
        write_dicom_seg(series_of(tmp_path / "scan"), mask, LABELS, tmp_path / "seg.dcm", "unet-b0")
