"""Left is the patient's left, seen from the middle of the head and not of the picture."""

import nibabel as nib
import numpy as np
import pytest

from toolkit.components import components
from toolkit.data.geometry import to_slices
from toolkit.inference.side import HeadMiddle, head_middle, side_of

SHAPE = (40, 48, 12)  # (X, Y, Z) voxels of 4 mm, and 6 mm from slice to slice
MIDDLE_X = 15  # the head lies off the middle of the picture, which is at 19.5
AFFINE = nib.affines.from_matvec(np.diag([4.0, 4.0, 6.0]), [-60.0, -90.0, -30.0])  # x grows to the right
RANGE = (0.0, 100.0)


def head(shape=SHAPE, middle=MIDDLE_X):
    x, y, z = np.indices(shape, sparse=True)
    inside = ((x - middle) / 13) ** 2 + ((y - 24) / 18) ** 2 + ((z - 5.5) / 7) ** 2 < 1
    return np.where(inside, 80, 2).astype(np.int16)


def lesion(*xs):
    """Cubes at these places from left to right (x grows to the right)."""
    mask = np.zeros(SHAPE, np.uint8)
    for x in xs:
        mask[x - 2 : x + 3, 20:25, 4:7] = 1
    return mask


def told(mask, affine=AFFINE, image=None):
    cut = to_slices(head() if image is None else image, affine)
    labels, sizes = components(to_slices(mask, affine).slices > 0)
    return side_of(labels, sizes, head_middle(cut.slices, RANGE, cut.affine))


# --- the rule -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "side"),
    [
        ((6,), "left"),
        ((24,), "right"),
        ((18,), "right"),  # left of the picture's middle, right of the head's
        ((15,), "midline"),
        ((16,), "midline"),  # 3.5 of 5 columns on the right
        ((17,), "right"),  # 4.5 of 5 columns: nine tenths
        ((6, 24), "both"),
        ((6, 15, 24), "both"),  # a third of it reaches over the middle
        ((15, 24), "midline"),  # half of it does
    ],
)
def test_the_side_follows_from_how_much_lies_where(places, side):
    assert told(lesion(*places)) == side


def test_a_speck_on_the_other_side_does_not_make_it_both():
    mask = lesion(6)
    mask[24, 22, 5] = 1
    assert told(mask) == "left"


def test_without_tumour_there_is_no_side():
    assert told(lesion()) is None


# --- the patient's own --------------------------------------------------------------


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SRA", "ASL"])
@pytest.mark.parametrize(
    "mm", [(4.0, 4.0, 6.0), (8.0, 4.0, 4.0), (4.0, 8.0, 4.0)], ids=["axial", "sagittal", "coronal"]
)
def test_the_side_is_the_patients_however_the_file_is_stored_and_cut(codes, mm):
    affine = nib.affines.from_matvec(np.diag(mm), [-60.0, -90.0, -30.0])
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(codes)
    )
    stored = affine @ nib.orientations.inv_ornt_aff(turn, SHAPE)
    turned = nib.orientations.apply_orientation(head(), turn)
    for place, side in ((6, "left"), (18, "right"), (15, "midline")):
        assert told(nib.orientations.apply_orientation(lesion(place), turn), stored, turned) == side


def test_without_directions_no_side_is_made_up():
    labels, sizes = components(lesion(6) > 0)
    assert head_middle(head(), RANGE, None) is None
    assert side_of(labels, sizes, None) == "unknown"


# --- the head's middle --------------------------------------------------------------


def middle_x(image):
    cut = to_slices(image, AFFINE)
    found = head_middle(cut.slices, RANGE, cut.affine)
    assert found.axis == 2
    assert not found.grows_to_right  # columns of an axial slice grow to the patient's left
    return SHAPE[0] - 1 - found.position


def test_the_middle_is_that_of_the_head():
    assert middle_x(head()) == pytest.approx(MIDDLE_X, abs=0.5)
    assert middle_x(head(middle=22)) == pytest.approx(22, abs=0.5)


def test_an_ear_a_lead_and_noise_do_not_move_it():
    image = head()
    image[28:34, 22:26, 5:7] = 90  # an ear
    image[38, :, 2] = 100  # a lead that does not touch the head
    image[np.random.default_rng(0).random(SHAPE) < 0.01] = 50
    assert middle_x(image) == pytest.approx(MIDDLE_X, abs=0.5)


def test_a_large_scan_is_looked_at_every_few_pixels_and_the_middle_stays():
    fine = head().repeat(14, axis=0)  # 560 columns
    cut = to_slices(fine, AFFINE @ np.diag([1 / 14, 1, 1, 1]))
    found = head_middle(cut.slices, RANGE, cut.affine)
    assert len(fine) - 1 - found.position == pytest.approx(14 * MIDDLE_X + 6.5, abs=3)


def test_of_a_head_that_is_cut_off_the_middle_is_unknown():
    cut = to_slices(head()[MIDDLE_X - 1 :], AFFINE)
    assert head_middle(cut.slices, RANGE, cut.affine) is None


def test_a_lone_sagittal_slice_has_no_side():
    lone = to_slices(head()[10:11], nib.affines.from_matvec(np.diag([9.0, 4.0, 4.0])))
    assert lone.plane == "sagittal"
    assert head_middle(lone.slices, RANGE, lone.affine) is None


def test_a_lone_axial_slice_has_one():
    labels, sizes = components(np.eye(40, dtype=bool)[None, :3])  # columns 0 to 2
    assert side_of(labels, sizes, HeadMiddle(2, 20.0, grows_to_right=False)) == "right"


def test_an_empty_picture_has_no_head():
    cut = to_slices(np.zeros(SHAPE, np.int16), AFFINE)
    assert head_middle(cut.slices, (0.0, 1.0), cut.affine) is None
