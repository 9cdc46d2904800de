"""Modalities on one grid become one case; what does not lie there is named."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations

from toolkit.data.sources.stacking import Volume, stack_volumes
from toolkit.errors import SourceError

AFFINE = np.array([[-0.9, 0, 0, 90.0], [0, -1.1, 0, 120.0], [0, 0, 5.0, -60.0], [0, 0, 0, 1]])
ALL_48 = [np.column_stack([axes, flips]) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def volume(name="t1c.nii", dtype=np.int16, affine=AFFINE, shape=(12, 10, 6), seed=0):
    data = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    return Volume(Path(name), data, affine)


@pytest.mark.parametrize("orientation", ALL_48, ids=lambda o: "".join(orientations.ornt2axcodes(o)))
def test_slices_of_every_orientation_are_the_same_and_go_back_to_where_they_were(orientation):
    first, second, mask = volume(seed=1), volume(seed=2), volume(seed=3, dtype=np.uint8)
    turned = [
        Volume(
            v.path,
            orientations.apply_orientation(v.data, orientation),
            v.affine @ orientations.inv_ornt_aff(orientation, v.data.shape),
        )
        for v in (first, second, mask)
    ]
    expected = stack_volumes({"t1c": first, "t2f": second}, mask, "p", "c").case
    stacked = stack_volumes({"t1c": turned[0], "t2f": turned[1]}, turned[2], "p", "c")
    np.testing.assert_array_equal(stacked.case.images, expected.images)
    np.testing.assert_array_equal(stacked.case.mask, expected.mask)
    np.testing.assert_allclose(stacked.case.affine, expected.affine, atol=1e-9)
    np.testing.assert_array_equal(stacked.restore(stacked.case.images[..., 1]), turned[1].data)


def test_a_missing_modality_is_zeros_and_said_so():
    case = stack_volumes({"t1n": None, "t1c": volume()}, None, "p", "c").case
    assert case.present == (False, True)
    assert not case.images[..., 0].any()
    assert case.images[..., 1].any()
    with pytest.raises(SourceError, match="none of the modalities t1n"):
        stack_volumes({"t1n": None}, None, "p", "c")


@pytest.mark.parametrize(
    ("one", "other", "stored"),
    [
        (np.int16, np.int16, np.int16),
        (np.uint8, np.int16, np.int16),
        (np.uint16, np.int16, np.int32),
        (np.int16, np.float32, np.float32),
        (np.float16, np.float16, np.float32),
        (np.int64, np.int64, np.float64),
    ],
)
def test_the_type_is_the_narrowest_that_holds_all_values(one, other, stored):
    volumes = {"t1c": volume(dtype=one), "t2f": volume(dtype=other, seed=1)}
    case = stack_volumes(volumes, None, "p", "c").case
    assert case.images.dtype == stored
    for channel, v in enumerate(volumes.values()):
        assert case.images[..., channel].sum() == v.data.astype(np.float64).sum()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape": (12, 10, 7)}, r"t2f\.nii: has the shape \(12, 10, 7\), t1c\.nii has \(12, 10, 6\)"),
        ({"affine": AFFINE @ np.diag([1, 1, -1, 1])}, r"t2f\.nii: lies elsewhere than t1c\.nii \(up to \d+"),
        ({"affine": AFFINE + np.array([[0, 0, 0, 0.01]] + 3 * [[0] * 4])}, r"lies elsewhere .*up to 0\.01 mm"),
        ({"affine": AFFINE + np.array([[0, 0, 0, 1e-4]] + 3 * [[0] * 4])}, None),
    ],
)
def test_another_grid_is_refused_and_rounding_is_not(change, says):
    volumes = {"t1c": volume(), "t2f": volume("t2f.nii", **change)}
    if says is None:
        assert stack_volumes(volumes, None, "p", "c").case.images.shape[3] == 2
    else:
        with pytest.raises(SourceError, match=says):
            stack_volumes(volumes, None, "p", "c")


@pytest.mark.parametrize("bad", [-1.0, 256.0, 0.5, np.nan])
def test_a_mask_of_other_than_whole_numbers_is_refused(bad):
    data = np.zeros((12, 10, 6))
    data[3, 3, 3] = bad
    with pytest.raises(SourceError, match=r"seg\.nii: a mask holds whole numbers"):
        stack_volumes({"t1c": volume()}, Volume(Path("seg.nii"), data, AFFINE), "p", "c")


def test_a_placeholder_is_unknown_unless_said_or_measured_and_a_true_spacing_stays():
    cube = np.diag([-1.0, -1.0, 1.0, 1.0])
    flat = volume(affine=cube, shape=(64, 64, 20))
    unknown = stack_volumes({"t1c": flat}, None, "p", "c")
    assert (unknown.case.spacing_mm, unknown.spacing_is_placeholder) == (None, True)
    said = stack_volumes({"t1c": flat}, None, "p", "c", spacing_mm=(5.0, 0.9, 0.9))
    assert (said.case.spacing_mm, said.spacing_is_placeholder) == ((5.0, 0.9, 0.9), False)
    measured = stack_volumes({"t1c": flat}, None, "p", "c", spacing_is_measured=True)
    assert (measured.case.spacing_mm, measured.spacing_is_placeholder) == ((1.0, 1.0, 1.0), False)
    true = stack_volumes({"t1c": volume()}, None, "p", "c", spacing_mm=(9.0, 9.0, 9.0))
    assert true.case.spacing_mm == pytest.approx((5.0, 1.1, 0.9))
    assert nib.aff2axcodes(true.case.affine) == ("S", "P", "L")
