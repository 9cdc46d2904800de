"""A case that does not hang together is refused where it is made."""

import numpy as np
import pytest

from toolkit.data.case import Case


def case(images=(3, 8, 6, 1), mask=(3, 8, 6), modalities=("t1c",), **more):
    mask = None if mask is None else np.zeros(mask, np.uint8)
    return Case(np.zeros(images, np.int16), mask, patient="p", case="c", modalities=modalities, **more)


def test_a_case_knows_its_length_and_fills_in_what_the_source_left_open():
    plain = case()
    assert plain.n_slices == 3
    assert plain.patient_group == "p"
    assert plain.slice_names == ("0", "1", "2")
    assert not plain.synthetic


def test_what_the_source_says_is_kept():
    told = case(patient_group="g", slice_names=("7", "8", "9"), plane="axial")
    assert (told.patient_group, told.slice_names, told.plane) == ("g", ("7", "8", "9"), "axial")


def test_a_case_may_have_no_mask_and_several_modalities():
    assert case(images=(2, 8, 6, 2), mask=None, modalities=("t1", "flair")).mask is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"images": (3, 8, 6)}, "images"),
        ({"mask": (3, 6, 8)}, "mask"),
        ({"modalities": ("t1", "flair")}, "modalities"),
        ({"plane": "oblique"}, "plane"),
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        case(**wrong)


def test_all_modalities_are_present_unless_said_otherwise():
    images = np.zeros((1, 4, 4, 2), np.uint8)
    assert Case(images, None, "p", "c", ("t1c", "t2f")).present == (True, True)
    assert Case(images, None, "p", "c", ("t1c", "t2f"), present=(False, True)).present == (False, True)
    for wrong in ((True,), (False, False)):
        with pytest.raises(ValueError, match="present"):
            Case(images, None, "p", "c", ("t1c", "t2f"), present=wrong)
