"""However the axes of a scan are stored, its slices hang the same way, and the way back is exact."""

import pickle
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations

from toolkit.data.geometry import is_placeholder_spacing, is_usable_affine, to_slices

SPACING_MM = (0.9, 1.1, 5.0)
SHAPE = (40, 36, 10)
ALL_48 = [np.column_stack([axes, flips]) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]
# World RAS mm: the patient's left is -x, anterior is +y, superior is +z.
LEFT_MARK, FRONT_MARK, TOP_MARK = (-11.0, 0.0, 0.0), (0.0, 12.0, 0.0), (0.0, 0.0, 17.0)


def oblique_affine(spacing_mm=SPACING_MM, shape=SHAPE, degrees=12.0):
    """A grid centred on the world's origin, tilted about the left-right and the head-foot axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    nod = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ nod @ np.diag(spacing_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def head_with_marks(affine, shape=SHAPE):
    """Noise below 50, and a mark at three known places of the world: 100 left, 150 front, 200 top."""
    head = np.random.default_rng(0).integers(1, 50, shape).astype(np.int16)
    for value, place in ((100, LEFT_MARK), (150, FRONT_MARK), (200, TOP_MARK)):
        head[tuple(np.rint(nib.affines.apply_affine(np.linalg.inv(affine), place)).astype(int))] = value
    return head


def reoriented(volume, affine, orientation):
    """The same head, stored in another order and direction of axes."""
    stored = orientations.apply_orientation(volume, orientation)
    return stored, affine @ orientations.inv_ornt_aff(orientation, volume.shape)


def where(slices, value):
    return np.argwhere(slices == value)[0]


@pytest.mark.parametrize("orientation", ALL_48, ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_each_of_the_48_orientations_hangs_alike_and_goes_back_exactly(orientation):
    affine = oblique_affine()
    head = head_with_marks(affine)
    stored, stored_affine = reoriented(head, affine, orientation)
    cut = to_slices(stored, stored_affine)

    assert cut.plane == "axial"
    np.testing.assert_allclose(cut.spacing_mm, (5.0, 1.1, 0.9), atol=1e-9)
    # x to the left and y to the front, by hand: columns are x turned round, rows y turned round.
    np.testing.assert_array_equal(cut.slices, head[::-1, ::-1, :].transpose(2, 1, 0))
    n, height, width = cut.slices.shape
    assert where(cut.slices, 100)[2] > width / 2, "the patient's left is at the right of the picture"
    assert where(cut.slices, 150)[1] < height / 2, "anterior is at the top"
    assert where(cut.slices, 200)[0] > n / 2, "the last slices are superior"
    for value in (100, 150, 200):
        np.testing.assert_allclose(
            nib.affines.apply_affine(cut.affine, where(cut.slices, value)),
            nib.affines.apply_affine(stored_affine, where(stored, value)),
            atol=1e-9,
        )
    np.testing.assert_array_equal(cut.restore(cut.slices), stored)


def test_a_labelled_mask_goes_back_to_where_its_head_came_from():
    affine = oblique_affine()
    stored, stored_affine = reoriented(head_with_marks(affine), affine, ALL_48[29])
    cut = to_slices(stored, stored_affine)
    mask = (cut.slices > 90).astype(np.uint8)
    np.testing.assert_array_equal(cut.restore(mask), stored > 90)
    assert cut.restore(mask).dtype == np.uint8
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cut.restore))(mask), stored > 90)


@pytest.mark.parametrize(("plane", "spacing_mm"), [("coronal", (0.9, 5.0, 1.1)), ("sagittal", (5.0, 0.9, 1.1))])
@pytest.mark.parametrize("orientation", ALL_48[::7], ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_scans_cut_coronal_or_sagittal_stand_upright(plane, spacing_mm, orientation):
    shape = tuple(round(40 / mm) for mm in spacing_mm)
    affine = oblique_affine(spacing_mm, shape)
    head = head_with_marks(affine, shape)
    stored, stored_affine = reoriented(head, affine, orientation)
    cut = to_slices(stored, stored_affine)
    assert cut.plane == plane
    assert cut.spacing_mm[0] == pytest.approx(5.0)
    n, height, width = cut.slices.shape
    assert where(cut.slices, 200)[1] < height / 2, "superior is at the top"
    if plane == "coronal":
        assert where(cut.slices, 100)[2] > width / 2, "the patient's left is at the right of the picture"
        assert where(cut.slices, 150)[0] < n / 2, "slices run from anterior to posterior"
    else:
        assert where(cut.slices, 150)[2] < width / 2, "the nose is at the left of the picture"
        assert where(cut.slices, 100)[0] < n / 2, "slices run from the patient's left to the right"
    np.testing.assert_array_equal(cut.restore(cut.slices), stored)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 5.0), (1.0, 5.0, 1.0), (5.0, 1.0, 1.0)])
def test_slices_columns_and_rows_are_right_handed_as_in_dicom(spacing_mm):
    cut = to_slices(np.zeros((8, 8, 8)), np.diag([*spacing_mm, 1.0]))
    slice_step, row_step, column_step = cut.affine[:3, :3].T
    assert np.dot(np.cross(column_step, row_step), slice_step) > 0


def test_a_nearly_cubic_voxel_is_cut_axially():
    assert to_slices(np.zeros((9, 9, 9)), np.diag([1.4, 1.0, 1.0, 1.0])).plane == "axial"
    assert to_slices(np.zeros((9, 9, 9)), np.diag([1.6, 1.0, 1.0, 1.0])).plane == "sagittal"
    assert to_slices(np.zeros((9, 9, 9)), np.diag([0.5, 0.9, 1.0, 1.0])).plane == "axial"


def test_where_spacing_is_a_placeholder_the_few_voxels_tell_the_slices():
    assert to_slices(np.zeros((64, 12, 64)), np.eye(4)).plane == "coronal"


@pytest.mark.parametrize(
    ("spacing_mm", "shape", "expected"),
    [
        ((1.0, 1.0, 1.0), (24, 256, 256), True),
        ((1.0, 1.0, 1.0), (60, 128, 128), True),
        ((1.0, 1.0, 1.0), (155, 240, 240), False),
        ((1.0, 1.0, 1.0), (40, 48, 48), False),
        ((5.0, 1.0, 1.0), (24, 256, 256), False),
        ((0.9, 0.9, 0.9), (24, 256, 256), False),
    ],
    ids=["24 slices", "60 slices", "whole head", "crop of a head", "5 mm slices", "measured"],
)
def test_a_millimetre_is_not_believed_where_no_head_fits(spacing_mm, shape, expected):
    assert is_placeholder_spacing(spacing_mm, shape) is expected


def test_an_affine_without_three_directions_is_refused():
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    parallel = np.eye(4)
    parallel[:3, 1] = parallel[:3, 0]
    for affine in (flat, parallel, np.full((4, 4), np.nan)):
        assert not is_usable_affine(affine)
        with pytest.raises(ValueError, match="affine"):
            to_slices(np.zeros((4, 4, 4)), affine)
    assert is_usable_affine(np.diag([1e-3, 1e-3, 1e-3, 1.0]))
