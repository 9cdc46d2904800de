"""Segmented DICOM series become cases whose masks lie where other software sees them; what does not fit is named."""

import contextlib
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.dicom import find_series, read_series
from toolkit.data.sources.dicom_cases import open_dicom_cases
from toolkit.data.sources.scan_files import find_scans
from toolkit.data.sources.scans import read_scan
from toolkit.errors import SourceError, UsageError
from toolkit.inference.dicom_seg import write_dicom_seg
from toolkit.inference.outputs import write_mask

highdicom = pytest.importorskip("highdicom")
files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("dicom_files.py"))))
RLE = "1.2.840.10008.1.2.5"
LABELS = {"oedema": 1, "core": 2}
RAS = np.array([-1.0, -1.0, 1.0])


def write_series(folder, data, **tags):
    return files.write_series(folder, data, **{"SeriesDescription": "t1_mprage_ce"} | tags)


@pytest.fixture
def mask():
    """`(columns, rows, slices)`, of no symmetry."""
    labels = np.zeros((7, 9, 5), np.uint8)
    labels[1:4, 2:7, 1:3] = 1
    labels[4, 2, 2] = labels[0, 0, 3] = 1
    labels[2, 3:5, 1] = 2
    return labels


def open_all(folder, modalities=None, allow_missing=False):
    """The source, its cases, and what was found: (weight, file name, rule, message)."""
    gate = IntegrityGate()
    source = open_dicom_cases(folder, gate, modalities, allow_missing)
    cases = list(source.cases)
    return source, cases, [(f.weight, Path(f.file).name, f.rule, f.message) for f in gate.findings]


def only_case(folder, *options):
    source, (case,), findings = open_all(folder, *options)
    assert findings == []
    return source, case


def refusals(folder, *options):
    """Of a folder of which nothing can be used: (file name, message)."""
    _, cases, findings = open_all(folder, *options)
    assert cases == []
    assert {weight for weight, *_ in findings} == {"error"}
    return [(name, message) for _, name, _, message in findings]


def ours(paths, mask, path, labels=LABELS):
    (series,) = find_series(paths)
    return write_dicom_seg(series, mask, labels, path, "by hand")


def by_highdicom(paths, planes, path, labels=LABELS, kind="BINARY", **options):
    """A SEG of `(slices, rows, columns)` numbers, or `(slices, rows, columns, segments)`, as others write it."""
    code = pydicom.sr.coding.Code("108369006", "SCT", "Neoplasm")
    segments = [
        highdicom.seg.SegmentDescription(number, name, code, code, "MANUAL")
        for number, name in enumerate(labels, start=1)
    ]
    made = highdicom.seg.Segmentation(
        [pydicom.dcmread(p) for p in paths], planes, kind, segments, highdicom.UID(), 9, highdicom.UID(), 1,
        "maker", "model", "1", "none", **options,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path)
    return path


def in_run_lengths(path):
    dataset = pydicom.dcmread(path)
    dataset.compress(RLE, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(path)
    return path


def planes(mask):
    return np.ascontiguousarray(mask.transpose(2, 1, 0))


def marked_mm(case, value):
    """Where a label lies: sorted points `(n, 3)`, LPS."""
    voxels = np.argwhere(case.mask == value)
    points = (case.affine @ np.column_stack([voxels, np.ones(len(voxels))]).T).T[:, :3] * RAS
    return points[np.lexsort(points.round(3).T)]


def segment_mm(path, number):
    """The same in the eyes of highdicom, of what is at least half inside."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(segment_numbers=[number], rescale_fractional=True)
    points = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0] >= 0.5))
    return points[np.lexsort(points.round(3).T)]


WRITERS = {
    "ours": ours,
    "binary": lambda paths, mask, path: by_highdicom(paths, planes(mask), path),
    "with empty frames": lambda paths, mask, path: by_highdicom(paths, planes(mask), path, omit_empty_frames=False),
    "fractional": lambda paths, mask, path: by_highdicom(
        paths, np.stack([planes(mask == 1) * 0.6, planes(mask == 2) + planes(mask == 1) * 0.4], -1), path,
        kind="FRACTIONAL",
    ),
    "fractional, run lengths": lambda paths, mask, path: in_run_lengths(
        by_highdicom(
            paths, np.stack([planes(mask == 1) * 0.6, planes(mask == 2) * 0.9], -1), path,
            kind="FRACTIONAL", max_fractional_value=100,
        )
    ),
    "label map": lambda paths, mask, path: by_highdicom(paths, planes(mask), path, kind="LABELMAP"),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_mask_lies_where_highdicom_sees_it(tmp_path, mask, write):
    data = files.voxels()
    path = write(write_series(tmp_path / "scan", data), mask, tmp_path / "truth/1.dcm")
    source, case = only_case(tmp_path)
    assert source.label_map == {"background": 0, "core": 1, "oedema": 2}
    assert (case.patient, case.case, case.modalities) == ("P1", "P1-1", ("t1c",))
    for number, name in enumerate(LABELS, start=1):
        expected = segment_mm(path, number)
        assert len(expected) == (mask == number).sum()
        np.testing.assert_allclose(marked_mm(case, source.label_map[name]), expected, atol=1e-4)
    # Head and mask run the same way: the values under the mask are those of the file.
    assert sorted(case.images[case.mask == 1, 0]) == sorted(data[mask == 2])


def test_a_single_segment_stated_once_for_all_frames_is_read(tmp_path, mask):
    paths = write_series(tmp_path / "scan", files.voxels())
    path = by_highdicom(paths, planes(mask > 0).astype(np.uint8), tmp_path / "seg", labels=["Tumour, whole"])
    assert "SegmentIdentificationSequence" in pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]
    source, case = only_case(tmp_path)
    assert source.label_map == {"background": 0, "tumour_whole": 1}
    assert case.mask.sum() == (mask > 0).sum()


def test_labels_are_one_map_over_all_files_and_background_is_none(tmp_path, mask):
    for patient, labels in (("P1", ["Core", "Background"]), ("P2", ["Oedema", "core"])):
        paths = write_series(
            tmp_path / patient, files.voxels(seed=int(patient[1])),
            PatientID=patient, StudyInstanceUID=f"1.2.{patient[1]}", SeriesInstanceUID=f"1.2.{patient[1]}.1",
        )  # fmt: skip
        by_highdicom(paths, planes(mask), tmp_path / f"{patient}.dcm", labels)
    source, cases, findings = open_all(tmp_path)
    assert findings == []
    assert source.label_map == {"background": 0, "core": 1, "oedema": 2}
    sizes = {case.patient: np.bincount(case.mask.ravel(), minlength=3)[1:].tolist() for case in cases}
    first, second = ((mask == value).sum() for value in (1, 2))
    assert sizes == {"P1": [first, 0], "P2": [second, first]}


def test_of_overlapping_segments_the_highest_number_counts_and_it_is_said(tmp_path, mask):
    whole_and_core = np.stack([planes(mask > 0), planes(mask == 2)], axis=-1).astype(np.uint8)
    by_highdicom(write_series(tmp_path, files.voxels()), whole_and_core, tmp_path / "seg.dcm", ["whole", "core"])
    source, (case,), ((weight, name, rule, message),) = open_all(tmp_path)
    assert (weight, name, rule) == ("warning", "seg.dcm", "overlapping-segments")
    assert message.startswith(f"{(mask == 2).sum()} voxels")
    assert [(case.mask == source.label_map[name]).sum() for name in ("whole", "core")] == [
        (mask == value).sum() for value in (1, 2)
    ]


# --- which slices a SEG lies on -----------------------------------------------------


def shift(groups, shared):
    groups.PlanePositionSequence[0].ImagePositionPatient[0] += 0.5


def transpose(groups, shared):
    cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [*cosines[3:], *cosines[:3]]


def widen(groups, shared):
    shared.PixelMeasuresSequence[0].PixelSpacing = ["1.2", "1.2"]


def lift(groups, shared):
    groups.PlanePositionSequence[0].ImagePositionPatient = files.decimals(files.position_mm(7))


def forget(groups, shared):
    del groups.PlanePositionSequence


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (shift, "does not lie on the slices"),
        (transpose, "does not lie on the slices"),
        (widen, "does not lie on the slices"),
        (lift, "on none of its slices"),
        (forget, "no ImagePositionPatient"),
    ],
)
def test_a_seg_that_lies_elsewhere_than_its_series_is_refused(tmp_path, change, told):
    tumour = np.zeros((8, 8, 5), np.uint8)
    tumour[2:4, 3, 2] = 1
    path = ours(write_series(tmp_path, files.voxels(tumour.shape)), tumour, tmp_path / "seg.dcm", {"tumour": 1})
    dataset = pydicom.dcmread(path)
    (groups,) = dataset.PerFrameFunctionalGroupsSequence
    change(groups, dataset.SharedFunctionalGroupsSequence[0])
    dataset.save_as(path)
    ((name, message),) = refusals(tmp_path)
    assert name == "seg.dcm"
    assert told in message


def test_a_seg_of_another_size_is_refused(tmp_path, mask):
    paths = write_series(tmp_path / "other", files.voxels())
    ours(paths, mask, tmp_path / "seg.dcm")
    for path in paths:
        path.unlink()
    write_series(tmp_path / "scan", files.voxels((9, 7, 5)))
    assert "frames of 9 x 7, slices of 7 x 9" in refusals(tmp_path)[0][1]


def test_of_two_echoes_in_a_series_the_segmented_one_is_the_case(tmp_path, mask):
    data = files.voxels()
    for echo in (20, 80):
        paths = write_series(tmp_path / str(echo), data + echo, EchoTime=str(echo))
    ours(paths, mask, tmp_path / "seg.dcm")
    assert only_case(tmp_path)[1].images.min() == 80 + data.min()


def test_of_two_echoes_in_a_file_the_segmented_one_is_the_case(tmp_path, mask):
    data = files.voxels()
    path = files.write_enhanced(
        tmp_path / "two.dcm", data, order=[3, 0, 4, 1, 2], echoes=(10.0, 90.0), SeriesDescription=""
    )
    _, second = find_series([path])
    write_dicom_seg(second, mask, LABELS, tmp_path / "seg.dcm", "by hand")
    case = only_case(tmp_path)[1]
    assert case.images.min() == 1 + data.min()
    assert sorted(case.images[case.mask == 1, 0] - 1) == sorted(data[mask == 2])


# --- several modalities -------------------------------------------------------------


@pytest.fixture
def study(tmp_path, mask):
    """A T1 with agent, segmented; FLAIR on its grid; and a longer FLAIR elsewhere."""
    t1c = write_series(tmp_path / "a", files.voxels(seed=1), SeriesDescription="t1 ce")
    write_series(tmp_path / "b", files.voxels(seed=2), SeriesInstanceUID="1.2.2", SeriesDescription="flair")
    write_series(
        tmp_path / "c", files.voxels((7, 9, 8), seed=3), SeriesInstanceUID="1.2.3", SeriesDescription="t2 flair 3d"
    )
    ours(t1c, mask, tmp_path / "seg.dcm")
    return tmp_path


def test_modalities_of_a_study_are_stacked_if_they_share_the_grid(study, mask):
    _, case = only_case(study, ("t2f", "t1c"))
    assert case.modalities == ("t2f", "t1c")
    for channel, seed in enumerate((2, 1)):
        inside = case.images[case.mask == 1, channel]
        assert sorted(inside) == sorted(files.voxels(seed=seed)[mask == 2])


def test_a_missing_modality_is_an_error_unless_it_is_allowed(study):
    ((name, message),) = refusals(study, ("t1c", "t2w"))
    assert name == "seg.dcm"
    assert "no t2w" in message
    assert "--allow-missing" in message
    _, case = only_case(study, ("t1c", "t2w"), True)
    assert case.present == (True, False)
    assert not case.images[..., 1].any()


def test_a_modality_on_another_grid_is_named_not_resampled(study):
    for path in (study / "b").iterdir():
        path.unlink()
    ((_, message),) = refusals(study, ("t1c", "t2f"))
    assert "register them first" in message
    assert str(study / "c") in message


def test_a_modality_that_no_description_tells_is_a_mistake(study):
    with pytest.raises(UsageError, match="swi"):
        open_all(study, ("t1c", "swi"))


def test_a_single_modality_is_the_segmented_series_whatever_it_is_called_but_not_silently(study):
    assert sorted(only_case(study, ("t2f",))[1].images.ravel()) == sorted(files.voxels(seed=2).ravel())
    for path in (study / "b").iterdir():
        path.unlink()
    # The FLAIR that is left lies on another grid.
    _, (case,), ((weight, name, _, message),) = open_all(study, ("t2f",))
    assert sorted(case.images.ravel()) == sorted(files.voxels(seed=1).ravel())
    assert (case.modalities, weight, name) == (("t2f",), "warning", "seg.dcm")
    assert "told to be t1c" in message


# --- what is wrong with a folder ----------------------------------------------------


def test_a_seg_whose_series_is_not_here_is_named_and_the_others_are_read(tmp_path, mask):
    lone = write_series(tmp_path / "x", files.voxels(seed=5), SeriesInstanceUID="1.2.99")
    ours(lone, mask, tmp_path / "lone.dcm")
    for path in lone:
        path.unlink()
    ours(write_series(tmp_path / "scan", files.voxels()), mask, tmp_path / "seg.dcm")
    _, cases, ((weight, name, _, message),) = open_all(tmp_path)
    assert [case.case for case in cases] == ["P1-seg"]
    assert (weight, name) == ("error", "lone.dcm")
    assert "1.2.99" in message


def test_a_series_with_a_gap_is_found_and_left_out(tmp_path, mask):
    paths = write_series(tmp_path, files.voxels())
    ours(paths, mask, tmp_path / "seg.dcm")
    paths[2].unlink()
    (gap, seg) = refusals(tmp_path)
    assert "find the missing ones" in gap[1]
    assert seg[0] == "seg.dcm"


def test_without_a_seg_there_is_nothing_to_learn_from(tmp_path):
    write_series(tmp_path, files.voxels())
    with pytest.raises(SourceError, match="no readable DICOM SEG"):
        open_all(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        open_all(tmp_path / "none")


def test_what_can_not_be_read_is_told_once(tmp_path, mask):
    paths = write_series(tmp_path / "scan", files.voxels())
    whole = ours(paths, mask, tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.dcm").write_text("no DICOM")
    (tmp_path / "slice.dcm").write_bytes(paths[0].read_bytes()[:600])
    (tmp_path / "._seg.dcm").write_text("what macOS leaves behind")
    (tmp_path / "readme.txt").write_text("fine")
    _, cases, findings = open_all(tmp_path)
    assert len(cases) == 1
    assert sorted(name for _, name, _, _ in findings) == ["cut.dcm", "slice.dcm", "text.dcm"]


def test_a_seg_cut_anywhere_is_an_error_of_one_line(tmp_path, mask):
    path = ours(write_series(tmp_path / "scan", files.voxels()), mask, tmp_path / "seg.dcm")
    whole = path.read_bytes()
    for length in range(200, len(whole) - 2, 97):
        path.write_bytes(whole[:length])
        gate = IntegrityGate()
        with contextlib.suppress(SourceError):  # no readable SEG is left
            assert list(open_dicom_cases(tmp_path, gate, None, False).cases) == []
        ((_, message),) = [(f.file, f.message) for f in gate.findings if f.file == str(path)]
        assert "\n" not in message


# --- round trip ---------------------------------------------------------------------


def test_a_mask_written_for_a_series_is_in_its_place_as_nifti_and_comes_back_from_the_seg(tmp_path, mask):
    write_series(tmp_path / "in", files.voxels())
    (found,) = find_scans([tmp_path / "in"])
    scan = read_scan(found)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "in")))
    seen = reader.Execute()
    np.testing.assert_array_equal(
        scan.restore(scan.case.images[..., 0]), sitk.GetArrayFromImage(seen).transpose(2, 1, 0)
    )
    # The values themselves say which voxels are to be marked.
    labels = np.select([scan.case.images[..., 0] > 700, scan.case.images[..., 0] > 500], [2, 1]).astype(np.uint8)
    written = write_mask(scan, labels, tmp_path / "out", "head", {"oedema": 1, "core": 2})
    image = sitk.ReadImage(str(written.path))
    expected = np.select([sitk.GetArrayFromImage(seen) > 700, sitk.GetArrayFromImage(seen) > 500], [2, 1])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    for mine, theirs in (
        (image.GetOrigin(), seen.GetOrigin()),
        (image.GetDirection(), seen.GetDirection()),
        (image.GetSpacing(), seen.GetSpacing()),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)

    written.dicom_seg.rename(tmp_path / "in/head_seg.dcm")
    source, case = only_case(tmp_path / "in")
    back = np.array([0, source.label_map["oedema"], source.label_map["core"]])[labels]
    np.testing.assert_array_equal(case.mask, back)
    np.testing.assert_array_equal(case.images, scan.case.images)
    np.testing.assert_allclose(case.affine, scan.case.affine, atol=1e-9)
    assert read_series(*find_series(sorted((tmp_path / "in").rglob("*")))).data.shape == mask.shape
