"""The picture of a map shows the slices with the tumour, each under its own heat."""

import numpy as np
import pytest

from toolkit import pictures
from toolkit.case_pictures import SHEET_SLICES, map_picture, shown_slices

RANGE = (0.0, 200.0)


def case(n_slices, tumour, size=256):
    """Grey slices; values are 1 in one row, another in each slice."""
    images = np.full((n_slices, size, size), 50, np.int16)
    mask, values = np.zeros(images.shape, np.uint8), np.zeros(images.shape, np.uint8)
    mask[list(tumour), 100:200, 100:200] = 1
    for index in range(n_slices):
        values[index, index] = 255
    return images, RANGE, values, mask


@pytest.mark.parametrize(
    ("n_slices", "tumour", "shown"),
    [
        (1, range(0), [0]),
        (30, range(12, 17), [12, 13, 14, 15, 16]),
        (5, range(0), [0, 1, 2, 3, 4]),
        (9, (2, 6), [2, 3, 4, 5, 6]),
    ],
)
def test_shown_are_the_slices_from_the_first_with_tumour_to_the_last(n_slices, tumour, shown):
    assert shown_slices(case(n_slices, tumour, 200)[3]) == shown


def test_a_large_tumour_is_sampled_from_its_first_to_its_last_slice():
    shown = shown_slices(case(100, range(10, 90), 200)[3])
    assert (len(shown), shown[0], shown[-1]) == (SHEET_SLICES, 10, 89)


def test_a_lone_slice_is_shown_large_enough_to_see():
    images, value_range, values, mask = case(1, range(1))
    picture = map_picture(images, value_range, values, mask)
    grey = pictures.to_grey(images[0], *value_range)
    np.testing.assert_array_equal(picture, pictures.map_overlay(grey, values[0] / 255, mask[0], 512))


def test_each_slice_of_a_sheet_lies_under_its_own_map():
    images, value_range, values, mask = case(12, range(4, 7))
    picture = map_picture(images, value_range, values, mask)
    bar, gap = picture.shape[0] - 256, (picture.shape[1] - 3 * 256) // 2
    for column, index in enumerate((4, 5, 6)):
        tile = picture[bar:, column * (256 + gap) :][:, :256]
        coloured = np.ptp(tile[:, 0].astype(int), axis=-1) > 20
        assert np.flatnonzero(coloured).tolist() == [index]


def test_made_up_images_say_so_on_every_slice():
    images, value_range, values, mask = case(3, range(3))
    plain, labelled = (map_picture(images, value_range, values, mask, synthetic) for synthetic in (False, True))
    changed = np.flatnonzero(np.any(plain != labelled, axis=(0, 2)))
    assert all(np.any((changed >= 260 * tile) & (changed < 260 * tile + 256)) for tile in range(3))
