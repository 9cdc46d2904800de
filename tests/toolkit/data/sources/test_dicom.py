"""A DICOM folder comes out as the volumes that were scanned; what does not fit is named, never guessed."""

import logging
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from toolkit.data.geometry import to_slices
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.dicom import find_series, is_dicom, read_series
from toolkit.errors import SourceError

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("dicom_files.py"))))
RAS = np.array([-1.0, -1.0, 1.0])
RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"


def search(folder):
    """The series of a folder, and what was found: (weight, file name, rule)."""
    gate = IntegrityGate()
    series = find_series(sorted(folder.rglob("*")), gate)
    return series, [(f.weight, Path(f.file).name, f.rule) for f in gate.findings]


def only_series(folder):
    (series,), findings = search(folder)
    assert findings == []
    return series


def read_by_simpleitk(folder, series_uid="1.2.3.4.5"):
    reader = sitk.ImageSeriesReader()
    # Else the first slice decides the type, and the others are cut to it.
    reader.SetOutputPixelType(sitk.sitkFloat64)
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series_uid))
    return reader.Execute()


def assert_same(volume, image):
    """Values and world positions of the corners are those that SimpleITK reads."""
    np.testing.assert_array_equal(volume.data, sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    for corner in np.ndindex(2, 2, 2):
        index = [int(i * (n - 1)) for i, n in zip(corner, volume.data.shape, strict=True)]
        expected = np.array(image.TransformIndexToPhysicalPoint(index)) * RAS
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_an_oblique_series_is_what_simpleitk_reads(tmp_path, dtype):
    data = files.voxels(dtype=dtype)
    paths = files.write_series(tmp_path, data)
    series = only_series(tmp_path)
    volume = read_series(series)
    np.testing.assert_array_equal(volume.data, data)
    assert volume.data.dtype == dtype
    assert_same(volume, read_by_simpleitk(tmp_path))
    assert series.files == tuple(paths)
    assert (series.columns, series.rows, series.n_slices) == data.shape
    assert (series.patient, series.series_uid, series.modality) == ("P1", "1.2.3.4.5", "t1n")


def test_a_series_becomes_canonical_slices_as_a_nifti_volume_does(tmp_path):
    data = files.voxels()
    files.write_series(tmp_path, data)
    volume = read_series(only_series(tmp_path))
    cut = to_slices(volume.data, volume.affine)
    assert (cut.plane, cut.slices.shape) == ("axial", (5, 9, 7))
    np.testing.assert_allclose(cut.spacing_mm, (files.STEP_MM, files.ROW_MM, files.COLUMN_MM))
    np.testing.assert_array_equal(cut.restore(cut.slices), data)


def test_two_series_in_one_folder_are_two_volumes_beside_what_is_no_scan(tmp_path):
    first, second = files.voxels(seed=1), files.voxels((6, 4, 3), seed=2)
    files.write_series(tmp_path / "a", first)
    files.write_series(tmp_path / "b", second, SeriesInstanceUID="1.2.3.4.9", SeriesDescription="t2_flair")
    (tmp_path / "readme.txt").write_text("DICM is not at byte 128 here")
    screen_shot = files.header("1.2.840.10008.5.1.4.1.1.7")
    files.set_pixels(screen_shot, np.zeros((4, 4), np.uint8))
    files.save(screen_shot, tmp_path / "c" / "shot.dcm")
    report = files.header("1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    files.save(report, tmp_path / "c" / "report.dcm")
    series, findings = search(tmp_path)
    assert findings == []
    assert [s.modality for s in series] == ["t1n", "t2f"]
    for one, data in zip(series, (first, second), strict=True):
        np.testing.assert_array_equal(read_series(one).data, data)


def test_a_localizer_of_three_planes_falls_apart_into_three_stacks(tmp_path):
    for name, axes in {"a": np.eye(3), "b": np.eye(3)[:, [1, 2, 0]], "c": np.eye(3)[:, [2, 0, 1]]}.items():
        files.write_series(tmp_path / name, files.voxels(shape=(8, 8, 3)), axes, SeriesDescription="localizer")
    series, findings = search(tmp_path)
    assert findings == []
    assert [(s.n_slices, s.modality) for s in series] == [(3, None)] * 3
    normals = [np.round(s.affine[:3, 2] / files.STEP_MM * RAS) for s in series]
    np.testing.assert_array_equal(normals, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_each_slice_has_its_own_slope_and_intercept(tmp_path):
    data = files.voxels()

    def scale(dataset, number):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1 + number / 4), str(-number)

    files.write_series(tmp_path, data, edit=scale)
    read = read_series(only_series(tmp_path)).data
    np.testing.assert_array_equal(read, data * (1 + np.arange(5) / 4) - np.arange(5))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, sitk.GetArrayFromImage(read_by_simpleitk(tmp_path)).transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_where_low_is_bright_values_are_turned(tmp_path, dtype):
    data = files.voxels(dtype=dtype)
    files.write_series(tmp_path, data, PhotometricInterpretation="MONOCHROME1")
    expected = int(data.max()) + int(data.min()) - data.astype(int)
    np.testing.assert_array_equal(read_series(only_series(tmp_path)).data, expected)


@pytest.mark.parametrize("syntax", [RLE, JPEG_LS, JPEG_2000])
def test_compressed_slices_are_the_same_voxels(tmp_path, syntax):
    pytest.importorskip({RLE: "numpy", JPEG_LS: "jpeg_ls", JPEG_2000: "openjpeg"}[syntax])
    data = files.voxels((32, 40, 3))
    files.write_series(tmp_path, data, compress=syntax)
    volume = read_series(only_series(tmp_path))
    np.testing.assert_array_equal(volume.data, data)
    assert_same(volume, read_by_simpleitk(tmp_path))


def test_jpeg_lossless_as_old_archives_hold_it(tmp_path):
    gdcm = pytest.importorskip("gdcm")
    data = files.voxels((16, 20, 2), dtype=np.uint16)
    for path in files.write_series(tmp_path, data):
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    np.testing.assert_array_equal(read_series(only_series(tmp_path)).data, data)


def test_without_a_decoder_the_message_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("jpeg_ls")
    files.write_series(tmp_path, files.voxels(), compress=JPEG_LS)
    series = only_series(tmp_path)
    monkeypatch.setattr(pydicom.pixels.get_decoder(JPEG_LS), "_available", {})
    with pytest.raises(SourceError, match=r"\.dcm: JPEG-LS Lossless.*brain-tumour-segmentation\[dicom\]") as caught:
        read_series(series)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("slopes", [None, [1, 0.5, 2, 1.5, 3]])
def test_an_enhanced_file_is_put_in_order_frame_by_frame(tmp_path, slopes):
    data = files.voxels()
    files.write_enhanced(tmp_path / "enhanced.dcm", data, order=[3, 0, 4, 1, 2], slopes=slopes)
    files.write_series(tmp_path / "plain", data, SeriesInstanceUID="1.2.3.4.8")
    (enhanced, plain), findings = search(tmp_path)
    assert findings == []
    assert enhanced.files == (tmp_path / "enhanced.dcm",)
    expected = data if slopes is None else data * np.array(slopes) - 3
    np.testing.assert_array_equal(read_series(enhanced).data, expected)
    np.testing.assert_allclose(enhanced.affine, plain.affine, atol=1e-9)


def test_echoes_at_the_same_positions_are_volumes_of_their_own(tmp_path):
    data = files.voxels()
    files.write_enhanced(tmp_path / "enhanced.dcm", data, order=range(5), echoes=(10.0, 90.0))
    for echo in (20, 80):
        files.write_series(tmp_path / str(echo), data + echo, SeriesInstanceUID="1.2.3.4.8", EchoTime=str(echo))
    series, findings = search(tmp_path)
    assert findings == []
    means = [read_series(one).data.astype(int) - data for one in series]
    assert [np.unique(mean).tolist() for mean in means] == [[20], [80], [0], [1]]


def test_a_number_that_counts_slices_does_not_split_a_stack(tmp_path):
    def count(dataset, number):
        dataset.AcquisitionNumber = number

    data = files.voxels()
    paths = files.write_series(tmp_path, data, edit=count)
    again = pydicom.dcmread(paths[2])
    again.AcquisitionNumber = 9
    files.save(again, tmp_path / "again.dcm")
    (series,), findings = search(tmp_path)
    assert findings == [("warning", "again.dcm", "duplicate-slice")]
    np.testing.assert_array_equal(read_series(series).data, data)


def test_a_copy_of_a_slice_is_kept_once(tmp_path):
    data = files.voxels()
    paths = files.write_series(tmp_path, data)
    (tmp_path / "zz-copy.dcm").write_bytes(paths[1].read_bytes())
    (series,), findings = search(tmp_path)
    assert findings == [("warning", "zz-copy.dcm", "duplicate-slice")]
    np.testing.assert_array_equal(read_series(series).data, data)


def change_pixels(dataset):
    dataset.PixelData = bytes(len(dataset.PixelData))


def move(dataset):
    dataset.ImagePositionPatient = files.decimals(files.position_mm(2.4))


def change_patient(dataset):
    dataset.PatientID = "P2"


@pytest.mark.parametrize(
    ("change", "name", "rule"),
    [
        (change_pixels, "zz.dcm", "slice-conflict"),
        (move, "zz.dcm", "slice-gap"),
        (change_patient, "zz.dcm", "mixed-patients"),
    ],
)
def test_a_slice_that_can_not_belong_there_is_an_error_and_no_volume(tmp_path, change, name, rule):
    stranger = pydicom.dcmread(files.write_series(tmp_path, files.voxels())[2])
    change(stranger)
    stranger.SOPInstanceUID = "1.2.9"
    files.save(stranger, tmp_path / name)
    series, findings = search(tmp_path)
    assert series == []
    assert findings == [("error", name, rule)]
    with pytest.raises(SourceError, match=name):
        find_series(sorted(tmp_path.glob("*.dcm")))


def test_slices_in_conflict_stay_an_error_where_gaps_are_filled(tmp_path):
    stranger = pydicom.dcmread(files.write_series(tmp_path, files.voxels())[2])
    change_pixels(stranger)
    stranger.SOPInstanceUID = "1.2.9"
    files.save(stranger, tmp_path / "zz.dcm")
    with pytest.raises(SourceError, match=r"zz\.dcm"):
        find_series(sorted(tmp_path.glob("*.dcm")), fill_gaps=True)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path):
    paths = files.write_series(tmp_path, files.voxels((7, 9, 6)), axes=np.eye(3))
    paths[2].unlink()
    gate = IntegrityGate()
    assert find_series(tmp_path.iterdir(), gate) == []
    (finding,) = gate.findings
    assert (finding.weight, finding.rule, finding.file) == ("error", "slice-gap", str(paths[3]))
    assert "5 mm apart, but 10 mm from -7.125 to 2.875 mm" in finding.message


def test_slices_that_are_missing_are_filled_where_asked_for(tmp_path):
    data = files.voxels((7, 9, 6))
    paths = files.write_series(tmp_path, data, RescaleSlope="2", RescaleIntercept="-3")
    paths[2].unlink()
    (series,) = find_series(tmp_path.iterdir(), fill_gaps=True)
    assert series.missing.tolist() == [False, False, True, False, False, False]
    volume = read_series(series)
    expected = 2.0 * data - 3
    expected[..., 2] = (expected[..., 1] + expected[..., 3]) / 2
    np.testing.assert_allclose(volume.data, expected, rtol=1e-6)
    (whole,) = find_series(files.write_series(tmp_path / "whole", data))
    np.testing.assert_allclose(volume.affine, whole.affine, atol=1e-5)


def test_a_slice_far_away_is_no_reason_to_invent_others(tmp_path):
    for path in files.write_series(tmp_path, files.voxels((7, 9, 31)))[3:30]:
        path.unlink()
    with pytest.raises(SourceError, match="find the missing ones"):
        find_series(sorted(tmp_path.iterdir()), fill_gaps=True)


def test_a_tilted_gantry_is_refused_as_no_straight_stack(tmp_path):
    def tilt(dataset, number):
        dataset.ImagePositionPatient = files.decimals(files.position_mm(number) + number * files.TILT[:, 1])

    files.write_series(tmp_path, files.voxels(), edit=tilt)
    series, findings = search(tmp_path)
    assert series == []
    assert [rule for _, _, rule in findings] == ["slice-gap"]


@pytest.mark.parametrize(
    ("tags", "step_mm"), [({}, 3.0), ({"SpacingBetweenSlices": "4.5"}, 4.5), ({"SliceThickness": ""}, 1.0)]
)
def test_a_lone_slice_is_as_thick_as_its_header_says(tmp_path, tags, step_mm):
    def edit(dataset, _):
        for name, value in tags.items():
            setattr(dataset, name, value)

    files.write_series(tmp_path, files.voxels((7, 9, 1)), edit=edit)
    np.testing.assert_allclose(only_series(tmp_path).affine[:3, 2], files.TILT[:, 2] * step_mm * RAS)


def test_colours_are_refused(tmp_path):
    def colour(dataset, _):
        dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
        dataset.PixelData = bytes(3 * dataset.Rows * dataset.Columns) + b"\0"

    files.write_series(tmp_path, files.voxels(dtype=np.uint8), edit=colour)
    with pytest.raises(SourceError, match="holds RGB, not grey values"):
        read_series(only_series(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("Rows", 60000, "bytes of pixels are declared"),
        ("NumberOfFrames", "2000000000", "voxels can be read"),
        ("PixelSpacing", ["0", "1"], "PixelSpacing"),
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"], "gives no two directions"),
        ("ImagePositionPatient", ["1e300", "0", "0"], "ImagePositionPatient"),
        ("ImagePositionPatient", "", "no position"),
        ("RescaleSlope", "0", "RescaleSlope 0"),
        ("BitsAllocated", 12, "12 bits"),
    ],
)
def test_a_header_that_lies_is_an_error_of_one_line(tmp_path, name, value, told):
    def lie(dataset, _):
        setattr(dataset, name, value)

    (path,) = files.write_series(tmp_path, files.voxels((7, 9, 1)), edit=lie)
    with pytest.raises(SourceError, match=told) as caught:
        find_series([path])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_frames_without_positions_are_refused_with_the_reason(tmp_path):
    cine = files.header("1.2.840.10008.5.1.4.1.1.7.2", NumberOfFrames=4)
    files.set_pixels(cine, np.zeros((4, 8, 8), np.uint8))
    path = files.save(cine, tmp_path / "cine.dcm")
    with pytest.raises(SourceError, match="tells no position"):
        find_series([path])


def test_a_codestream_that_states_another_size_is_not_decoded(tmp_path):
    pytest.importorskip("openjpeg")
    (path,) = files.write_series(tmp_path, files.voxels((32, 40, 1)), compress=JPEG_2000)
    block = bytearray(path.read_bytes())
    start = block.index(b"\xff\x4f\xff\x51") + 8
    block[start : start + 8] = (2**31 - 1).to_bytes(4) * 2
    path.write_bytes(block)
    with pytest.raises(SourceError, match="a frame states"):
        read_series(only_series(tmp_path))


@pytest.mark.parametrize("compress", [None, RLE, JPEG_2000])
def test_a_file_cut_anywhere_is_an_error_of_one_line_and_quiet(tmp_path, compress, capfd, caplog):
    if compress == JPEG_2000:
        pytest.importorskip("openjpeg")
    (path,) = files.write_series(tmp_path, files.voxels((64, 64, 1)), compress=compress)
    whole = path.read_bytes()
    with caplog.at_level(logging.CRITICAL, logger="pydicom"):
        for length in range(0, len(whole) - 2, 512):
            path.write_bytes(whole[:length])
            with pytest.raises(SourceError) as caught:
                read_series(*find_series([path]))
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compress", [None, RLE])
def test_flipped_bytes_are_read_or_refused_but_raise_nothing_else(tmp_path, compress):
    (path,) = files.write_series(tmp_path, files.voxels((64, 64, 1)), compress=compress)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for end in [len(whole), 1300] * 50:  # anywhere; then mostly in the header
        block = np.frombuffer(whole, np.uint8).copy()
        block[rng.integers(132, end, 4)] = rng.integers(0, 256, 4)
        path.write_bytes(block.tobytes())
        try:
            for series in find_series([path]):
                volume = read_series(series)
                to_slices(volume.data, volume.affine)
        except SourceError:
            refused += 1
    assert 10 < refused < 90


@pytest.mark.parametrize(
    ("description", "tags", "modality"),
    [
        ("t2_tirm_tra_dark-fluid", {}, "t2f"),
        ("AX FLAIR T2", {}, "t2f"),
        ("t2_tirm_tra", {"ScanningSequence": ["SE", "IR"], "InversionTime": "2500"}, "t2f"),
        ("t2_tirm_cor", {"ScanningSequence": ["SE", "IR"], "InversionTime": "160"}, "t2w"),
        ("T2 TSE axial", {}, "t2w"),
        ("T2* gre", {}, None),
        ("ep2d_diff_t2", {}, None),
        ("T1 SE axial post", {}, "t1c"),
        ("t1_mprage_ce", {}, "t1c"),
        ("Ax T1 +C", {}, "t1c"),
        ("T1 C- axial", {}, "t1n"),
        ("T1 posterior fossa", {}, "t1n"),
        ("T1 MPRAGE", {"ContrastBolusAgent": "Gadovist"}, "t1c"),
        ("T1 MPRAGE", {"ContrastBolusAgent": "NONE"}, "t1n"),
        ("T1 without contrast", {}, "t1n"),
        ("survey t1", {}, None),
        ("PD axial", {}, None),
        ("T1", {"Modality": "CT"}, None),
    ],
)
def test_modality_is_guessed_from_what_the_technician_wrote(tmp_path, description, tags, modality):
    files.write_series(tmp_path, files.voxels((4, 4, 2)), SeriesDescription=description, **tags)
    assert only_series(tmp_path).modality == modality


def test_is_dicom_looks_at_the_file_only(tmp_path):
    (path,) = files.write_series(tmp_path, files.voxels((4, 4, 1)))
    bare = path.rename(tmp_path / "IM0001")
    (tmp_path / "short.dcm").write_bytes(b"DICM")
    assert [is_dicom(p) for p in (bare, tmp_path / "short.dcm", tmp_path, tmp_path / "none")] == [True] + [False] * 3
