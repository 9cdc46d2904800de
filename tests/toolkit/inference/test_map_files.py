"""A map lies on its scan voxel for voxel, and readers see it from 0 to 1."""

import cv2
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel import orientations

from toolkit.data.sources.scan_files import lone_file
from toolkit.data.sources.scans import read_scan
from toolkit.errors import OutputError
from toolkit.inference.map_files import write_map

SHAPE = (30, 26, 8)
TILTED = np.array([[0.9, 0, 0, -12], [0, 1.07, -1.2, 7.5], [0, 0.25, 4.9, 3], [0, 0, 0, 1]])
HALF_A_STEP = 1 / 510


def save_head(path, orientation=((0, 1), (1, 1), (2, 1)), kind=nib.Nifti1Image):
    """Each voxel another value, so that a map made of them tells where each went."""
    orientation = np.array(orientation)
    data = orientations.apply_orientation(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), orientation)
    image = kind(data, TILTED @ orientations.inv_ornt_aff(orientation, SHAPE))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=2)
    image.header["cal_max"] = 4000
    nib.save(image, path)
    return path


def ramp_of(scan):
    """0 to 1 with the scan's own values."""
    images = scan.case.images[..., 0].astype(np.float64)
    return (images - images.min()) / (images.max() - images.min())


def to_8_bit(unit):
    return np.rint(unit * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "orientation", [((0, 1), (1, 1), (2, 1)), ((2, -1), (0, 1), (1, -1)), ((1, -1), (2, 1), (0, 1))]
)
def test_a_volume_gets_a_map_that_lies_on_it_with_values_from_0_to_1(tmp_path, orientation):
    path = save_head(tmp_path / "head.nii.gz", orientation)
    scan = read_scan(lone_file(path))
    written = write_map(scan, to_8_bit(ramp_of(scan)), tmp_path / "out", "head", "grad_cam")
    assert written == tmp_path / "out" / "head_grad_cam.nii.gz"

    original, back = nib.load(path), nib.load(written)
    expected = original.get_fdata() / original.get_fdata().max()
    np.testing.assert_allclose(back.get_fdata(), expected, atol=HALF_A_STEP + 1e-6)
    assert back.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(back.affine, original.affine)
    np.testing.assert_array_equal(back.get_qform(), original.get_qform())
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == (1, 2)
    assert back.header.get_zooms() == original.header.get_zooms()
    assert (back.header["cal_min"], back.header["cal_max"]) == (0, 1)
    assert back.header.get_intent()[0] == "estimate"

    seen, head = sitk.ReadImage(str(written)), sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(head).astype(np.float64)
    np.testing.assert_allclose(sitk.GetArrayFromImage(seen), values / values.max(), atol=HALF_A_STEP + 1e-6)
    for place in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(seen, place)(), getattr(head, place)(), atol=1e-6)


def test_the_map_of_a_nifti_2_scan_is_nifti_2(tmp_path):
    scan = read_scan(lone_file(save_head(tmp_path / "two.nii", kind=nib.Nifti2Image)))
    back = nib.load(write_map(scan, to_8_bit(ramp_of(scan)), tmp_path, "two", "uncertainty"))
    assert isinstance(back, nib.Nifti2Image)
    np.testing.assert_allclose(back.get_fdata().max(), 1, atol=1e-6)


def test_a_picture_gets_a_grey_picture_of_its_size(tmp_path):
    cv2.imwrite(str(tmp_path / "slice.jpg"), np.zeros((40, 48), np.uint8))
    scan = read_scan(lone_file(tmp_path / "slice.jpg"))
    values = np.arange(40 * 48).reshape(1, 40, 48).astype(np.uint8)
    written = write_map(scan, values, tmp_path, "slice", "attention")
    assert written.name == "slice_attention.png"
    np.testing.assert_array_equal(cv2.imread(str(written), cv2.IMREAD_UNCHANGED), values[0])


def test_a_figshare_file_gets_a_grey_picture_of_its_size(tmp_path, figshare_file):
    scan = read_scan(lone_file(figshare_file(tmp_path / "7.mat")))
    values = to_8_bit(ramp_of(scan))
    written = write_map(scan, values, tmp_path, "7", "disagreement")
    assert written.name == "7_disagreement.png"
    np.testing.assert_array_equal(cv2.imread(str(written), cv2.IMREAD_UNCHANGED), values[0])


def test_a_stack_gets_a_stack_page_for_page(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (5, 20, 24)).astype(np.uint8)
    cv2.imwritemulti(str(tmp_path / "stack.tiff"), list(stack))
    scan = read_scan(lone_file(tmp_path / "stack.tiff"))
    written = write_map(scan, 255 - stack, tmp_path, "stack", "attention")
    assert written.name == "stack_attention.tif"
    _, pages = cv2.imreadmulti(str(written), flags=cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(pages, 255 - stack)


def test_a_map_that_does_not_belong_to_the_scan_is_a_mistake_of_the_caller(tmp_path):
    scan = read_scan(lone_file(save_head(tmp_path / "head.nii.gz")))
    for wrong in (to_8_bit(ramp_of(scan))[1:], ramp_of(scan)):
        with pytest.raises(ValueError, match="does not fit scan"):
            write_map(scan, wrong, tmp_path, "head", "attention")


def test_an_output_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    scan = read_scan(lone_file(save_head(tmp_path / "head.nii.gz")))
    with pytest.raises(OutputError, match=r"out/head_attention\.nii\.gz"):
        write_map(scan, to_8_bit(ramp_of(scan)), tmp_path / "out", "head", "attention")
