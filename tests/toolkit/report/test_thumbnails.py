"""Thumbnails: few, spread over the data set, of the slice that shows most."""

import numpy as np
import pytest

from toolkit.data.case import Case
from toolkit.pictures import TRUTH_COLOUR
from toolkit.report.thumbnails import N_THUMBNAILS, THUMBNAIL_PIXELS, Thumbnails

RANGE = np.array([[0, 100]], np.float32)


def case(name, mask=None, shape=(3, 16, 16), **more):
    images = np.full((*shape, 1), 50, np.int16)
    return Case(images, mask, patient="p", case=name, modalities=("t1c",), **more)


@pytest.mark.parametrize("n_cases", [1, N_THUMBNAILS, N_THUMBNAILS + 1, 2 * N_THUMBNAILS, 500])
def test_they_are_few_and_spread_over_the_whole_set(n_cases):
    thumbnails = Thumbnails()
    for number in range(n_cases):
        thumbnails.see(case(str(number), shape=(1, 16, 16)), RANGE)
    shown = [int(title) for title, _ in thumbnails.pictures()]
    assert len(shown) == min(n_cases, N_THUMBNAILS)
    assert shown[0] == 0
    assert shown[-1] >= 0.9 * (n_cases - 1)
    gaps = np.diff(shown)
    assert n_cases == 1 or (gaps.min() > 0 and gaps.max() <= 2 * gaps.min())


def test_the_slice_with_the_most_tumour_is_shown_with_its_outline():
    mask = np.zeros((3, 16, 16), np.uint8)
    mask[1, 4:6, 4:6] = 1
    mask[2, 4:12, 4:12] = 2  # any label is tumour
    thumbnails = Thumbnails()
    thumbnails.see(case("scan", mask, slice_names=("7", "8", "9"), tumour_type="glioma"), RANGE)
    ((title, picture),) = thumbnails.pictures()
    assert title == "scan, slice 9, glioma"
    assert picture.shape == (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS, 3)
    outlined = np.argwhere((picture == TRUTH_COLOUR).all(axis=2))
    # Pixels 4 to 11 of 16 are rows 48 to 143 of 192.
    np.testing.assert_allclose((outlined.min(axis=0), outlined.max(axis=0)), ((48, 48), (143, 143)), atol=2)


@pytest.mark.parametrize("mask", [None, np.zeros((3, 16, 16), np.uint8)])
def test_without_tumour_it_is_the_middle_slice(mask):
    thumbnails = Thumbnails()
    thumbnails.see(case("scan", mask), RANGE)
    ((title, picture),) = thumbnails.pictures()
    assert title == "scan, slice 1"
    assert not (picture == TRUTH_COLOUR).all(axis=2).any()


def test_a_modality_that_is_there_is_shown():
    images = np.zeros((1, 16, 16, 2), np.int16)
    images[..., 1] = 100
    thumbnails = Thumbnails()
    present = Case(images, None, patient="p", case="scan", modalities=("t1c", "t2w"), present=(False, True))
    thumbnails.see(present, np.array([[0, 1], [0, 100]], np.float32))
    assert thumbnails.pictures()[0][1].min() == 255


def test_a_picture_of_one_row_stays_small():
    thumbnails = Thumbnails()
    thumbnails.see(case("line", shape=(1, 1, 8000)), RANGE)
    assert thumbnails.pictures()[0][1].shape == (1, 8000, 3)
