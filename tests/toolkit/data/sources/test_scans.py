"""What a user hands over is read whatever its kind."""

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import nibabel as nib
import numpy as np
import pytest

from toolkit.data.sources.nifti import MAX_BYTES
from toolkit.data.sources.scan_files import find_scans, lone_file
from toolkit.data.sources.scans import read_scan
from toolkit.errors import SourceError

dicom = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("dicom_files.py"))))
DATA = Path(__file__).parents[4] / "../shared/data"
AFFINE = np.diag([0.9, 1.1, 5.0, 1.0])


def save_volume(path, data=None, affine=AFFINE):
    data = np.arange(8 * 7 * 6, dtype=np.int16).reshape(8, 7, 6) if data is None else data
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def test_a_volume_is_read_in_canonical_slices(tmp_path):
    path = save_volume(tmp_path / "head.nii.gz")
    scan = read_scan(lone_file(path))
    data = nib.load(path).get_fdata()
    assert (scan.kind, scan.case.case, scan.case.modalities) == ("nifti", "head", ("t1c",))
    assert scan.case.images.dtype == np.int16
    np.testing.assert_array_equal(scan.case.images[..., 0], data[::-1, ::-1].transpose(2, 1, 0))
    np.testing.assert_allclose(scan.case.spacing_mm, (5.0, 1.1, 0.9), atol=1e-6)
    assert not scan.spacing_is_placeholder
    np.testing.assert_array_equal(scan.restore(scan.case.images[..., 0]), data)


def test_a_stack_of_pictures_is_a_case_without_millimetres(tmp_path):
    stack = np.random.default_rng(0).integers(0, 65535, (3, 20, 24)).astype(np.uint16)
    cv2.imwritemulti(str(tmp_path / "stack.tif"), list(stack))
    scan = read_scan(lone_file(tmp_path / "stack.tif"), ("flair",))
    np.testing.assert_array_equal(scan.case.images[..., 0], stack)
    assert (scan.kind, scan.case.modalities, scan.case.spacing_mm) == ("picture", ("flair",), None)


def test_a_figshare_slice_brings_its_truth_and_its_patient(tmp_path, figshare_file):
    image, mask = np.arange(48, dtype=np.int16).reshape(8, 6), np.eye(8, 6, dtype=np.uint8)
    case = read_scan(lone_file(figshare_file(tmp_path / "7.mat", image, mask, "MR040240B", 2))).case
    np.testing.assert_array_equal(case.images[0, ..., 0], image)
    np.testing.assert_array_equal(case.mask[0], mask)
    assert (case.patient, case.case, case.tumour_type) == ("MR040240B", "7", "glioma")


def test_a_figshare_slice_without_a_patient_can_still_be_predicted(tmp_path, figshare_file):
    assert read_scan(lone_file(figshare_file(tmp_path / "7.mat", patient=""))).case.patient == "7"


def test_a_figshare_slice_with_nan_or_another_mask_is_refused_in_one_line(tmp_path, figshare_file):
    nan = figshare_file(tmp_path / "1.mat", np.full((8, 8), np.nan, np.float32), np.zeros((8, 8), np.uint8))
    other = figshare_file(tmp_path / "2.mat", np.zeros((8, 8), np.int16), np.zeros((6, 8), np.uint8))
    for path, what in ((nan, "NaN"), (other, "does not fit")):
        with pytest.raises(SourceError, match=what) as caught:
            read_scan(lone_file(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_of_four_volumes_is_a_case_of_four_modalities(tmp_path):
    data = np.random.default_rng(0).integers(0, 900, (8, 7, 6, 4)).astype(np.int16)
    names = ("t2f", "t1n", "t1c", "t2w")
    path = save_volume(tmp_path / "BRATS_001.nii.gz", data)
    scan = read_scan(lone_file(path), names)
    assert (scan.case.modalities, scan.case.present) == (names, (True,) * 4)
    for channel in range(4):
        np.testing.assert_array_equal(scan.restore(scan.case.images[..., channel]), data[..., channel])
    with pytest.raises(SourceError, match="holds 4 volumes where 2 are needed"):
        read_scan(lone_file(path), ("t1c", "t2f"))


def test_colours_are_the_modalities_of_a_model_of_three(tmp_path):
    blue_first = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    path = tmp_path / "lgg.tif"
    cv2.imwrite(str(path), blue_first)
    scan = read_scan(lone_file(path), ("pre", "flair", "post"))
    np.testing.assert_array_equal(scan.case.images[0], blue_first[..., ::-1])
    assert scan.case.modalities == ("pre", "flair", "post")
    with pytest.raises(SourceError, match="holds 1 of the 2 modalities"):
        read_scan(lone_file(path), ("t1c", "t2f"))


def test_a_spacing_that_is_said_counts_only_where_the_file_knows_none(tmp_path, figshare_file):
    placeholder = save_volume(tmp_path / "p.nii.gz", np.ones((60, 60, 20), np.int16), np.eye(4))
    stated = save_volume(tmp_path / "s.nii.gz")
    cv2.imwrite(str(tmp_path / "slice.png"), np.zeros((8, 8), np.uint8))
    said = (5.0, 0.5, 0.25)
    read = {path.name: read_scan(lone_file(path), spacing_mm=said) for path in (placeholder, stated)}
    assert (read["p.nii.gz"].case.spacing_mm, read["p.nii.gz"].spacing_is_placeholder) == (said, False)
    np.testing.assert_allclose(read["s.nii.gz"].case.spacing_mm, (5.0, 1.1, 0.9), atol=1e-6)
    for path in (tmp_path / "slice.png", figshare_file(tmp_path / "7.mat")):
        assert read_scan(lone_file(path), spacing_mm=said).case.spacing_mm == said
    unsaid = read_scan(lone_file(placeholder))
    assert (unsaid.case.spacing_mm, unsaid.spacing_is_placeholder) == (None, True)


def test_where_left_is_is_known_only_where_the_file_says_so(tmp_path, figshare_file):
    """Also where --spacing is given: that says nothing of directions."""
    stated = save_volume(tmp_path / "stated.nii.gz")
    scan = read_scan(lone_file(stated))
    np.testing.assert_array_equal(scan.patient_affine, scan.case.affine)
    placeholder = save_volume(tmp_path / "p.nii.gz", np.ones((60, 60, 20), np.int16), np.eye(4))
    image = nib.load(stated)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "unsaid.nii.gz")
    for path in (placeholder, tmp_path / "unsaid.nii.gz", figshare_file(tmp_path / "7.mat")):
        for spacing_mm in (None, (5.0, 0.5, 0.25)):
            assert read_scan(lone_file(path), spacing_mm=spacing_mm).patient_affine is None, path
    dicom.write_series(tmp_path / "dicom", dicom.voxels())
    assert read_scan(*find_scans([tmp_path / "dicom"])).patient_affine is not None


def test_a_dicom_series_is_a_case_with_the_header_of_its_mask(tmp_path):
    data = dicom.voxels()
    dicom.write_series(tmp_path, data)
    (found,) = find_scans([tmp_path])
    scan = read_scan(found, spacing_mm=(9.0, 9.0, 9.0))
    np.testing.assert_array_equal(scan.restore(scan.case.images[..., 0]), data)
    np.testing.assert_allclose(scan.case.spacing_mm, (dicom.STEP_MM, dicom.ROW_MM, dicom.COLUMN_MM), atol=1e-6)
    np.testing.assert_allclose(scan.header.get_best_affine(), scan.series.affine, atol=1e-5)
    np.testing.assert_allclose(scan.header.get_qform(), scan.header.get_sform(), atol=1e-5)


def test_a_millimetre_that_dicom_states_is_no_placeholder(tmp_path):
    def cubes(dataset, number):
        dataset.PixelSpacing = ["1", "1"]
        dataset.ImagePositionPatient = dicom.decimals(number * dicom.TILT[:, 2])

    dicom.write_series(tmp_path, dicom.voxels((40, 40, 6)), edit=cubes)
    scan = read_scan(*find_scans([tmp_path]))
    np.testing.assert_allclose(scan.case.spacing_mm, (1, 1, 1))
    assert not scan.spacing_is_placeholder


def test_series_of_a_study_are_the_modalities_in_the_order_of_the_model(tmp_path):
    t1c, flair = dicom.voxels(seed=1), dicom.voxels(seed=2)
    dicom.write_series(tmp_path / "a", t1c, SeriesDescription="T1 post Gd", SeriesInstanceUID="1.2.1")
    dicom.write_series(tmp_path / "b", flair, SeriesDescription="FLAIR", SeriesInstanceUID="1.2.2")
    wanted = ("t1n", "t2f", "t1c")
    scan = read_scan(*find_scans([tmp_path], wanted, allow_missing=True), wanted)
    assert (scan.case.present, scan.series.description) == ((False, True, True), "FLAIR")
    for channel, expected in enumerate((np.zeros_like(t1c), flair, t1c)):
        np.testing.assert_array_equal(scan.restore(scan.case.images[..., channel]), expected)
    with pytest.raises(SourceError, match="its study has no series that is told to be t1n"):
        read_scan(*find_scans([tmp_path], wanted), wanted)


def test_a_slice_too_long_for_nifti_1_still_has_a_header(tmp_path):
    (path,) = dicom.write_series(tmp_path, dicom.voxels((33000, 2, 1)))
    scan = read_scan(*find_scans([path]))
    assert scan.header.get_data_shape() == (33000, 2, 1)


@pytest.mark.real_scans
@pytest.mark.parametrize("pattern", ["tcia_progression/*/*_Scan_T1.nii.gz", "lgg/*/*_t1ce.nii.gz"])
def test_real_scans_whose_millimetre_is_a_placeholder_are_flagged(pattern):
    paths = sorted(DATA.glob(pattern))[:4]
    if not paths:
        pytest.skip(f"no real scans at {DATA / pattern}")
    for path in paths:
        scan = read_scan(lone_file(path))
        assert scan.spacing_is_placeholder, path
        assert scan.case.spacing_mm is None
        assert scan.case.plane == "axial"


@pytest.mark.real_scans
def test_a_real_head_of_true_millimetres_is_not_flagged():
    paths = sorted(DATA.glob("brats_samples/*/*-t1c.nii.gz"))
    if not paths:
        pytest.skip(f"no real scans at {DATA / 'brats_samples'}")
    scan = read_scan(lone_file(paths[0]))
    assert not scan.spacing_is_placeholder
    assert scan.case.images.shape == (155, 240, 240, 1)
    # The frontal pole of this head is narrower than its back, which tells top from bottom.
    middle = scan.case.images[70, ..., 0] > 0
    rows = np.flatnonzero(middle.any(axis=1))
    width = middle.sum(axis=1)
    assert width[rows[10:40]].mean() < width[rows[-60:-30]].mean()


@pytest.mark.real_scans
def test_a_real_figshare_slice_is_read_with_its_truth():
    pytest.importorskip("toolkit.data.sources.figshare")
    folder = DATA / "figshare/full_size"
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}")
    scans = find_scans([folder])
    assert [scan.path.name for scan in scans[:2]] == ["59.mat", "204.mat"]
    scan = read_scan(scans[0])
    assert scan.case.images.shape == (1, 512, 512, 1)
    assert scan.case.mask.any()


def test_slices_in_files_of_their_own_are_one_case(tmp_path):
    name = "TCGA_CS_4941_19960909"
    stack = np.random.default_rng(0).integers(0, 255, (3, 20, 24, 3)).astype(np.uint8)
    (tmp_path / name).mkdir()
    for number, picture in zip((2, 10, 11), stack, strict=True):
        cv2.imwrite(str(tmp_path / name / f"{name}_{number}.tif"), picture[..., ::-1])
    (files,) = find_scans([tmp_path], ("t1n", "t2f", "t1c"))
    np.testing.assert_array_equal(read_scan(files, ("t1n", "t2f", "t1c")).case.images, stack)
    cv2.imwrite(str(tmp_path / name / f"{name}_10.tif"), stack[0, :10])
    with pytest.raises(SourceError, match=f"{name}_10.tif: has another size"):
        read_scan(files, ("t1n", "t2f", "t1c"))


LARGEST = """
import sys
from pathlib import Path
from toolkit.data.sources.scan_files import lone_file
from toolkit.data.sources.scans import read_scan
kept = read_scan(lone_file(Path(sys.argv[1]))).case.images.nbytes
# Not ru_maxrss, which a child may inherit.
print(kept, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.end_to_end
def test_the_largest_volume_that_is_read_stays_below_2_gigabytes(tmp_path):
    side = int((MAX_BYTES / 2) ** (1 / 3))
    save_volume(tmp_path / "bomb.nii.gz", np.zeros((side, side, side), np.int16))
    command = [sys.executable, "-c", LARGEST, str(tmp_path / "bomb.nii.gz")]
    done = subprocess.run(command, cwd=Path(__file__).parents[4], capture_output=True, text=True, check=True)
    kept, peak = map(int, done.stdout.split())
    assert kept > 0.99 * MAX_BYTES
    assert peak * 1024 < 2e9
