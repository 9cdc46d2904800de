"""What a user hands over is found in a sensible order, named safely, and read whatever its kind."""

from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from toolkit.data.sources.scans import find_scans, read_scan, safe_name, unique_names
from toolkit.errors import SourceError

DATA = Path(__file__).parents[4] / "../shared/data"
AFFINE = np.diag([0.9, 1.1, 5.0, 1.0])


def save_volume(path, data=None, affine=AFFINE):
    data = np.arange(8 * 7 * 6, dtype=np.int16).reshape(8, 7, 6) if data is None else data
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def named(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_a_folder_is_searched_and_numbers_sort_as_numbers(tmp_path):
    make(tmp_path, "10.mat", "2.mat", "1.mat", "b/3.nii.gz", "a 10/1.png", "a 9/1.TIFF", "b/notes.txt")
    expected = ["1.mat", "2.mat", "10.mat", "a 9/1.TIFF", "a 10/1.png", "b/3.nii.gz"]
    assert named(find_scans([tmp_path]), tmp_path) == expected


def test_hidden_files_and_what_is_no_slice_are_left_out(tmp_path):
    make(tmp_path, "1.mat", "cvind.mat", "._1.mat", ".cache/2.mat", "sub/CVIND.mat")
    assert named(find_scans([tmp_path]), tmp_path) == ["1.mat"]


def test_the_folder_we_write_to_is_not_read_back(tmp_path):
    make(tmp_path, "1.png", "bts-predictions/1_mask.png")
    found = find_scans([tmp_path], skip=tmp_path / "bts-predictions")
    assert named(found, tmp_path) == ["1.png"]


def test_files_come_as_given_and_once(tmp_path):
    make(tmp_path, "2.png", "1.png")
    found = find_scans([tmp_path / "2.png", tmp_path, tmp_path / "." / "2.png"])
    assert named(found, tmp_path) == ["2.png", "1.png"]


@pytest.mark.parametrize("name", ["empty", "missing", "missing.nii.gz", "report.pdf", "x" * 300 + ".png"])
def test_what_can_not_be_used_is_one_line_that_names_it(tmp_path, name):
    (tmp_path / "empty").mkdir()
    make(tmp_path, "report.pdf")
    with pytest.raises(SourceError) as caught:
        find_scans([tmp_path / name])
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_without_scans_says_what_would_be_accepted(tmp_path):
    with pytest.raises(SourceError, match=r"no scan found in .*accepted: \.nii\.gz, .*\.mat, \.png"):
        find_scans([tmp_path])


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("BraTS-GLI-00001-000-t1c.nii.gz", "BraTS-GLI-00001-000-t1c"),
        ("scan.v2.NII.GZ", "scan.v2"),
        ("Müller, Kopf (2).png", "Müller_Kopf_2"),
        ("<script>alert(1)</script>.png", "script"),
        ("$(rm -rf ~);`id`.nii", "rm_-rf_id"),
        ("-o.mat", "o"),
        ("..nii", "scan"),
        ("new\nline\x00\udcff.png", "new_line"),
        ("...hidden.tif", "hidden"),
        ("頭部.png", "頭部"),
    ],
)
def test_a_hostile_name_becomes_a_harmless_one(file, name):
    made = safe_name(Path(file.replace("</", "<\\")))
    assert made.startswith(name)
    assert not set(made) & set("/\\<>$`;:*?|\"'\n\x00 ")
    assert made[0] not in ".-"


def test_a_very_long_name_leaves_room_for_endings():
    for letter in "x頭":
        assert len((safe_name(Path(letter * 250 + ".png")) + "_enhanced.nii.gz").encode()) <= 255


def test_names_that_clash_get_their_folder_then_a_number():
    paths = [Path("/d/01/T1.nii.gz"), Path("/d/02/t1.nii.gz"), Path("/d/03/flair.nii.gz")]
    assert unique_names(paths) == ["01_T1", "02_t1", "flair"]
    clash = [Path("/d/a.nii.gz"), Path("/d/a.png"), Path("/d/A.mat"), Path("/d/d_a_2.png")]
    names = unique_names(clash)
    assert names[:2] == ["d_a", "d_a_2"]
    assert len({name.casefold() for name in names}) == 4


def test_a_volume_is_read_in_canonical_slices(tmp_path):
    path = save_volume(tmp_path / "head.nii.gz")
    scan = read_scan(path)
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
    scan = read_scan(tmp_path / "stack.tif", modality="flair")
    np.testing.assert_array_equal(scan.case.images[..., 0], stack)
    assert (scan.kind, scan.case.modalities, scan.case.spacing_mm) == ("picture", ("flair",), None)


def test_a_figshare_slice_brings_its_truth_and_its_patient(tmp_path, figshare_file):
    image, mask = np.arange(48, dtype=np.int16).reshape(8, 6), np.eye(8, 6, dtype=np.uint8)
    case = read_scan(figshare_file(tmp_path / "7.mat", image, mask, "MR040240B", 2)).case
    np.testing.assert_array_equal(case.images[0, ..., 0], image)
    np.testing.assert_array_equal(case.mask[0], mask)
    assert (case.patient, case.case, case.tumour_type) == ("MR040240B", "7", "glioma")


def test_a_figshare_slice_without_a_patient_can_still_be_predicted(tmp_path, figshare_file):
    assert read_scan(figshare_file(tmp_path / "7.mat", patient="")).case.patient == "7"


def test_a_figshare_slice_with_nan_or_another_mask_is_refused_in_one_line(tmp_path, figshare_file):
    nan = figshare_file(tmp_path / "1.mat", np.full((8, 8), np.nan, np.float32), np.zeros((8, 8), np.uint8))
    other = figshare_file(tmp_path / "2.mat", np.zeros((8, 8), np.int16), np.zeros((6, 8), np.uint8))
    for path, what in ((nan, "NaN"), (other, "does not fit")):
        with pytest.raises(SourceError, match=what) as caught:
            read_scan(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.real_scans
@pytest.mark.parametrize("pattern", ["tcia_progression/*/*_Scan_T1.nii.gz", "lgg/*/*_t1ce.nii.gz"])
def test_real_scans_whose_millimetre_is_a_placeholder_are_flagged(pattern):
    paths = sorted(DATA.glob(pattern))[:4]
    if not paths:
        pytest.skip(f"no real scans at {DATA / pattern}")
    for path in paths:
        scan = read_scan(path)
        assert scan.spacing_is_placeholder, path
        assert scan.case.spacing_mm is None
        assert scan.case.plane == "axial"


@pytest.mark.real_scans
def test_a_real_head_of_true_millimetres_is_not_flagged():
    paths = sorted(DATA.glob("brats_samples/*/*-t1c.nii.gz"))
    if not paths:
        pytest.skip(f"no real scans at {DATA / 'brats_samples'}")
    scan = read_scan(paths[0])
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
    paths = find_scans([folder])
    assert [path.name for path in paths[:2]] == ["59.mat", "204.mat"]
    scan = read_scan(paths[0])
    assert scan.case.images.shape == (1, 512, 512, 1)
    assert scan.case.mask.any()
