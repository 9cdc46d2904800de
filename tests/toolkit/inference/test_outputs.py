"""A mask lies on its scan voxel for voxel, in the eyes of another program too."""

from itertools import permutations, product
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel import orientations

from toolkit.data.sources.scan_files import lone_file
from toolkit.data.sources.scans import read_scan
from toolkit.errors import OutputError
from toolkit.inference.outputs import write_mask

DATA = Path(__file__).parents[3] / "../shared/data"
SPACING_MM, SHAPE = (0.9, 1.1, 5.0), (48, 44, 12)
LESION_CENTRE_MM, LESION_RADIUS_MM = np.array([-7.0, 9.0, 6.0]), 9.0
LESION, TISSUE = 900, 300
TUMOUR, THREE = {"tumour": 1}, {"core": 1, "oedema": 2, "enhancing": 3}
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
ALL_48 = [np.column_stack([axes, flips]) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def oblique_affine(degrees=12.0):
    """Tilted as a head in its coil is, and centred off the world's origin."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag(SPACING_MM)
    affine[:3, 3] = np.array([1.5, -2.5, 3.5]) - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def head_with_lesion(affine):
    """An ellipsoid of tissue and, on the patient's left (-x in RAS), a ball at a known place in mm."""
    world = nib.affines.apply_affine(affine, np.stack(np.indices(SHAPE), axis=-1))
    head = np.where(np.sum((world / [20, 22, 28]) ** 2, axis=-1) < 1, TISSUE, 0)
    in_lesion = np.sum((world - LESION_CENTRE_MM) ** 2, axis=-1) < LESION_RADIUS_MM**2
    return np.where(in_lesion, LESION, head).astype(np.int16)


def save_head(path, orientation=ALL_48[0], data=None):
    affine = oblique_affine()
    head = orientations.apply_orientation(head_with_lesion(affine) if data is None else data, orientation)
    image = nib.Nifti1Image(head, affine @ orientations.inv_ornt_aff(orientation, SHAPE))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=2)
    nib.save(image, path)
    return path


def lesion_of(scan):
    return (scan.case.images[..., 0] > (LESION + TISSUE) / 2).astype(np.uint8)


@pytest.mark.parametrize("orientation", ALL_48, ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_the_lesion_is_found_where_it_is_in_each_of_the_48_orientations(tmp_path, orientation):
    path = save_head(tmp_path / "head.nii.gz", orientation)
    scan = read_scan(lone_file(path))
    mask = lesion_of(scan)
    assert np.argwhere(mask)[:, 2].mean() > mask.shape[2] / 2, "patient's left is at the right of the picture"
    written = write_mask(scan, mask, tmp_path / "out", "head", TUMOUR).path

    original, back = nib.load(path), nib.load(written)
    np.testing.assert_array_equal(back.get_fdata() > 0, original.get_fdata() > (LESION + TISSUE) / 2)
    np.testing.assert_allclose(back.affine, original.affine, atol=1e-6)
    assert back.header.get_zooms() == original.header.get_zooms()
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == (1, 2)
    np.testing.assert_array_equal(back.get_qform(), original.get_qform())

    seen = sitk.ReadImage(str(written))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(seen)
    centre_mm = LPS_TO_RAS * shape.GetCentroid(1)
    off_in_voxels = np.linalg.inv(original.affine[:3, :3]) @ (centre_mm - LESION_CENTRE_MM)
    assert np.abs(off_in_voxels).max() < 0.5


def test_a_mask_is_8_bit_3d_and_free_of_the_scan_s_scaling(tmp_path):
    image = nib.Nifti1Image(head_with_lesion(oblique_affine())[..., np.newaxis] * 0.37 - 50, oblique_affine())
    image.set_data_dtype(np.int16)
    image.header["cal_max"] = 500
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "scaled.nii")
    scan = read_scan(lone_file(tmp_path / "scaled.nii"))
    assert nib.load(tmp_path / "scaled.nii").dataobj.slope != 1
    mask = (scan.case.images[..., 0] > 200).astype(np.uint8)
    written = nib.load(write_mask(scan, mask, tmp_path, "scaled", TUMOUR).path)
    assert written.shape == SHAPE
    assert written.get_data_dtype() == np.uint8
    assert (written.dataobj.slope, written.dataobj.inter) == (1, 0)
    assert written.header["cal_max"] == 0
    assert written.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.unique(written.get_fdata()), [0, 1])
    np.testing.assert_array_equal(written.get_fdata() > 0, image.get_fdata()[..., 0] > 200)


def test_several_classes_keep_their_labels_in_a_volume(tmp_path):
    scan = read_scan(lone_file(save_head(tmp_path / "head.nii.gz", ALL_48[17])))
    mask = lesion_of(scan) * 3
    mask[0, 0, 0] = 1
    written = nib.load(write_mask(scan, mask, tmp_path, "head", THREE).path)
    np.testing.assert_array_equal(np.unique(written.get_fdata()), [0, 1, 3])


def test_nifti_2_and_header_extensions(tmp_path):
    image = nib.Nifti2Image(head_with_lesion(oblique_affine()), oblique_affine())
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe, born 1 April"))
    nib.save(image, tmp_path / "two.nii.gz")
    scan = read_scan(lone_file(tmp_path / "two.nii.gz"))
    written = nib.load(write_mask(scan, lesion_of(scan), tmp_path, "two", TUMOUR).path)
    assert isinstance(written, nib.Nifti2Image)
    assert len(written.header.extensions) == 0, "a mask must not carry the patient's name on"
    assert written.dataobj.offset == 544, "no gap is left where the extension was"
    np.testing.assert_array_equal(written.get_fdata() > 0, image.get_fdata() == LESION)


@pytest.mark.parametrize(
    ("dtype", "ending"), [(np.uint8, ".png"), (np.uint16, ".png"), (np.uint8, ".jpg"), (np.uint16, ".tif")]
)
def test_the_mask_of_a_picture_is_black_and_white_of_the_same_size(tmp_path, dtype, ending):
    picture = np.zeros((40, 48), dtype)
    picture[10:20, 30:40] = np.iinfo(dtype).max
    cv2.imwrite(str(tmp_path / f"slice{ending}"), picture)
    scan = read_scan(lone_file(tmp_path / f"slice{ending}"))
    mask = (scan.case.images[..., 0] > np.iinfo(dtype).max / 2).astype(np.uint8)
    written = write_mask(scan, mask, tmp_path / "out", "slice", TUMOUR).path
    assert written.name == "slice_mask.png"
    expected = np.where(picture > 0, 255, 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(written))), expected)


def test_a_stack_gets_a_stack_page_for_page(tmp_path):
    stack = np.random.default_rng(0).integers(0, 65535, (5, 20, 24)).astype(np.uint16)
    cv2.imwritemulti(str(tmp_path / "stack.tiff"), list(stack))
    scan = read_scan(lone_file(tmp_path / "stack.tiff"))
    mask = (scan.case.images[..., 0] > 30000).astype(np.uint8)
    written = write_mask(scan, mask, tmp_path, "stack", TUMOUR).path
    assert written.name == "stack_mask.tif"
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(written)))
    np.testing.assert_array_equal(read, np.where(stack > 30000, 255, 0))


def test_several_classes_are_written_into_a_picture_as_they_are(tmp_path):
    cv2.imwrite(str(tmp_path / "slice.png"), np.zeros((8, 8), np.uint8))
    scan = read_scan(lone_file(tmp_path / "slice.png"))
    mask = np.zeros((1, 8, 8), np.uint8)
    mask[0, :2], mask[0, 2:4] = 1, 2
    written = write_mask(scan, mask, tmp_path, "slice", THREE).path
    np.testing.assert_array_equal(cv2.imread(str(written), cv2.IMREAD_UNCHANGED), mask[0])


def test_a_mask_that_does_not_belong_to_the_scan_is_a_mistake_of_the_caller(tmp_path):
    scan = read_scan(lone_file(save_head(tmp_path / "head.nii.gz")))
    with pytest.raises(ValueError, match="does not fit"):
        write_mask(scan, lesion_of(scan)[1:], tmp_path, "head", TUMOUR)
    with pytest.raises(ValueError, match=r"labels \[2\] in a mask of"):
        write_mask(scan, lesion_of(scan) * 2, tmp_path, "head", TUMOUR)


def test_an_output_folder_that_is_a_file_is_named_and_nothing_is_left(tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    scan = read_scan(lone_file(save_head(tmp_path / "head.nii.gz")))
    with pytest.raises(OutputError, match=r"out/head_mask\.nii\.gz"):
        write_mask(scan, lesion_of(scan), tmp_path / "out", "head", TUMOUR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.nii.gz", "out"]


@pytest.mark.real_scans
@pytest.mark.parametrize(
    "pattern",
    ["tcia_progression/01/Pre_Scan_T1.nii.gz", "lgg/*/*_flair.nii.gz", "brats_samples/*/*-t1c.nii.gz"],
)
def test_bright_voxels_of_a_real_scan_come_back_voxel_for_voxel(tmp_path, pattern):
    paths = sorted(DATA.glob(pattern))[:3]
    if not paths:
        pytest.skip(f"no real scans at {DATA / pattern}")
    for path in paths:
        scan = read_scan(lone_file(path))
        threshold = np.percentile(scan.case.images, 90)
        mask = (scan.case.images[..., 0] > threshold).astype(np.uint8)
        seen = sitk.ReadImage(str(write_mask(scan, mask, tmp_path, "real", TUMOUR).path))
        original = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), sitk.GetArrayFromImage(original) > threshold)
        for place in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
            np.testing.assert_allclose(getattr(seen, place)(), getattr(original, place)(), atol=1e-6)
