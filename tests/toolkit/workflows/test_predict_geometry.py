"""Left stays left: a lesion of a known place in mm, through the whole of `bts-predict`, read by another program."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel import orientations

from tests.small_models import brightness_model
from toolkit.config import check_recipe
from toolkit.models.model_file import ModelInfo, save_model
from toolkit.workflows.predict import predict

SPACING_MM, SHAPE = (0.9, 1.1, 5.0), (96, 88, 22)
LESION_CENTRE_MM, LESION_RADIUS_MM = np.array([-17.0, 14.0, 12.0]), 12.0
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
    """An ellipsoid of tissue (300) and, on the patient's left (-x in RAS), a ball (900) at a known place in mm."""
    world = nib.affines.apply_affine(affine, np.stack(np.indices(SHAPE), axis=-1))
    head = np.where(np.sum((world / [40, 44, 50]) ** 2, axis=-1) < 1, 300, 0)
    return np.where(np.sum((world - LESION_CENTRE_MM) ** 2, axis=-1) < LESION_RADIUS_MM**2, 900, head)


def model_that_marks_what_is_bright(path, spacing_mm):
    """A network of one pixel's width: half way between tissue (1/3) and lesion (1) it says 0.5."""
    data = {"image_size": 64, "spacing_mm": spacing_mm, "window": {"slices": 4, "halo": 1}}
    recipe = check_recipe({"data": data}, "test")
    info = ModelInfo(
        recipe=recipe,
        modalities=("t1c",),
        label_map={"background": 0, "tumour": 1},
        data_kind="nifti",
        data_checksums_sha256={},
        synthetic_data=False,
    )
    save_model(brightness_model(30.0, -20.0, 64), path, info)
    return path


@pytest.mark.parametrize("spacing_mm", [None, (2.0, 2.0, 2.0), (4.0, 1.6, 1.6)], ids=["as stored", "2 mm", "thick"])
def test_the_lesion_is_found_where_it_is_in_each_of_the_48_orientations(tmp_path, spacing_mm):
    affine = oblique_affine()
    head = head_with_lesion(affine).astype(np.int16)
    names = ["".join(nib.orientations.ornt2axcodes(o)) for o in ALL_48]
    for name, orientation in zip(names, ALL_48, strict=True):
        turned = orientations.apply_orientation(head, orientation)
        image = nib.Nifti1Image(turned, affine @ orientations.inv_ornt_aff(orientation, SHAPE))
        nib.save(image, tmp_path / f"{name}.nii.gz")
    model = model_that_marks_what_is_bright(tmp_path / "model.keras", spacing_mm)
    summary = predict([tmp_path], model, tmp_path / "out")
    assert set(summary["cases"]) == set(names)
    for name in names:
        original = nib.load(tmp_path / f"{name}.nii.gz")
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(sitk.ReadImage(str(tmp_path / f"out/{name}_mask.nii.gz")))
        off_mm = LPS_TO_RAS * shape.GetCentroid(1) - LESION_CENTRE_MM
        off_in_voxels = np.linalg.inv(original.affine[:3, :3]) @ off_mm
        assert np.abs(off_in_voxels).max() < 0.5, name
        volume_ml = 4 / 3 * np.pi * LESION_RADIUS_MM**3 / 1000
        case = summary["cases"][name]
        assert case["volume_ml"] == pytest.approx(volume_ml, rel=0.15), name
        assert case["side"] == "left", name
        for diameter in ("largest_diameter_mm", "perpendicular_diameter_mm"):
            assert case[diameter] == pytest.approx(2 * LESION_RADIUS_MM, abs=3), name
