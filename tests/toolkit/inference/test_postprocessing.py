"""What is done to a mask, by hand on squared paper and against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from tests.small_models import small_info
from toolkit.data.regions import label_mask, region_masks
from toolkit.inference.postprocessing import likeliest_labels, post_processed
from toolkit.models.model_file import PostProcessing

ONE = small_info().recipe
SIZE = 32  # of the model's grid
NESTED = small_info(
    model={"regions": {"whole": [1, 2, 3], "core": [1, 3], "enhancing": [3]}},
    label_map={"core": 1, "oedema": 2, "enhancing": 3},
).recipe
EXCLUSIVE = small_info(
    model={"regions": {"core": [1], "oedema": [2]}, "exclusive": True}, label_map={"core": 1, "oedema": 2}
).recipe


def processed(mask, recipe=ONE, spacing_mm=None, **how):
    """Of a mask of one region as the model is sure of it."""
    mask = np.asarray(mask, np.uint8)
    return post_processed(mask, np.ones_like(mask), PostProcessing(**how), recipe, spacing_mm)


def squares(*sides, size=SIZE):
    """A slice with filled squares of these sides, none touching another."""
    plane = np.zeros((1, size, size), np.uint8)
    left = 1
    for side in sides:
        plane[0, 1 : 1 + side, left : left + side] = 1
        left += side + 2
    return plane


# --- nothing ------------------------------------------------------------------------


def test_by_default_nothing_is_done():
    mask = (np.random.default_rng(0).random((3, 20, 20)) < 0.3).astype(np.uint8)
    np.testing.assert_array_equal(processed(mask), mask)


def test_an_empty_mask_stays_empty():
    empty = np.zeros((2, 8, 8), np.uint8)
    assert not processed(empty, fill_holes=True, largest_only=True, smallest_component=0.1).any()


# --- holes --------------------------------------------------------------------------


def test_a_hole_is_filled_and_a_bay_is_not():
    drawn = """
        .......
        .#####.
        .#...#.
        .#####.
        .#...#.
        .#...#.
        ......."""
    mask = np.array([[c == "#" for c in line.strip()] for line in drawn.split()], np.uint8)[np.newaxis]
    expected = mask.copy()
    expected[0, 2, 2:5] = 1
    np.testing.assert_array_equal(processed(mask, fill_holes=True), expected)


def test_a_ring_that_closes_with_corners_only_has_a_hole():
    diamond = np.abs(np.indices((7, 7)) - 3).sum(axis=0) == 2
    filled = processed(diamond[np.newaxis], fill_holes=True)[0]
    np.testing.assert_array_equal(filled, np.abs(np.indices((7, 7)) - 3).sum(axis=0) <= 2)


def test_holes_are_those_of_a_slice_also_where_the_volume_is_open_there():
    tube = squares(5).repeat(3, axis=0)
    tube[:, 3, 3] = 0
    np.testing.assert_array_equal(processed(tube, fill_holes=True), squares(5).repeat(3, axis=0))


@pytest.mark.parametrize("seed", range(5))
def test_holes_are_filled_as_scipy_does_in_whole_pictures(seed):
    """Here only the box around the tumour is looked at."""
    coarse = np.random.default_rng(seed).random((4, 8, 8)) < 0.55
    mask = np.pad(coarse.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (seed, 2), (0, 3))).astype(np.uint8)
    expected = np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
    np.testing.assert_array_equal(processed(mask, fill_holes=True), expected)


# --- small components ---------------------------------------------------------------


def test_components_below_the_size_go():
    """Squares of 1, 4, 9 and 25 pixels on a grid of 1024."""
    mask = squares(1, 2, 3, 5)
    for smallest, left in ((0, 39), (1 / 1024, 39), (2 / 1024, 38), (9 / 1024, 34), (10 / 1024, 25), (26 / 1024, 0)):
        assert processed(mask, smallest_component=smallest).sum() == left, smallest


def test_the_size_means_the_same_in_a_picture_of_another_size():
    for zoom in (1, 2, 4):
        mask = squares(1, 2, 3, 5).repeat(zoom, axis=1).repeat(zoom, axis=2)
        assert processed(mask, smallest_component=9 / 1024).sum() == 34 * zoom**2


def test_of_a_volume_the_largest_section_counts_so_that_slices_thick_or_thin_are_judged_alike():
    for repeats in (1, 2, 6):
        kept = processed(squares(2, 4).repeat(repeats, axis=0), smallest_component=8 / 1024)
        assert kept.sum(axis=(1, 2)).tolist() == [16] * repeats
    growing = np.concatenate([squares(1, size=16), squares(3, size=16), squares(1, size=16)])
    assert processed(growing, smallest_component=9 / 256).sum() == 11  # its tips belong to it


def test_for_a_model_that_works_in_mm_it_is_an_area_in_mm2():
    """9 pixels of its grid of 2 mm are 36 mm²; the head may fill the picture or not."""
    recipe = small_info(data={"spacing_mm": (4.0, 2.0, 2.0)}).recipe
    for mm, size in ((2.0, 24), (1.0, 48), (1.0, 64)):
        zoom = round(2 / mm)
        mask = np.zeros((1, size, size), np.uint8)
        drawn = squares(1, 2, 3, 5, size=24).repeat(zoom, axis=1).repeat(zoom, axis=2)
        mask[:, : 24 * zoom, : 24 * zoom] = drawn
        kept = processed(mask, recipe, (4.0, mm, mm), smallest_component=9 / 1024)
        assert kept.sum() == 34 * zoom**2, (mm, size)


# --- the largest --------------------------------------------------------------------


def test_only_the_largest_component_is_kept():
    np.testing.assert_array_equal(processed(squares(2, 5, 3), largest_only=True).sum(), 25)


def test_the_largest_of_a_volume_has_the_most_pixels_in_all_slices():
    mask = np.zeros((5, 16, 16), np.uint8)
    mask[:, 2:5, 2:5] = 1  # 45
    mask[2, 8:14, 8:14] = 1  # 36
    assert processed(mask, largest_only=True).sum() == 45


def test_a_largest_one_that_is_too_small_goes_too():
    assert not processed(squares(2, 3), largest_only=True, smallest_component=10 / 1024).any()


def test_a_hole_counts_for_the_size():
    """A ring of 16 pixels around 9 is larger than a square of 16 and its neighbour's corner."""
    mask = squares(5, 4)
    mask[0, 2:5, 2:5] = 0
    mask[0, 5, 8] = 1
    assert processed(mask, largest_only=True)[0, 1, 8] == 1  # 17 pixels against 16
    filled = processed(mask, largest_only=True, fill_holes=True)
    np.testing.assert_array_equal(filled, squares(5))


# --- several regions ----------------------------------------------------------------


def test_a_core_outside_what_is_kept_goes_with_its_tumour():
    """The larger core lies in the smaller tumour."""
    probability = np.zeros((1, 24, 24, 3), np.float32)
    probability[0, 2:12, 2:12, 0] = 0.9
    probability[0, 4:6, 4:6, 1] = 0.8
    probability[0, 15:22, 15:22, 0] = 0.9
    probability[0, 16:21, 16:21, 1] = 0.8
    labels = label_mask(probability, NESTED.model, 0.5)
    kept = post_processed(
        labels, likeliest_labels(probability, NESTED.model), PostProcessing(largest_only=True), NESTED, None
    )
    regions = region_masks(kept, NESTED.model)
    assert regions.sum(axis=(0, 1, 2)).tolist() == [100, 4, 0]


def test_a_necrosis_is_not_filled_up_with_the_rim_around_it():
    probability = np.zeros((1, 12, 12, 3), np.float32)
    probability[0, 1:11, 1:11, 0] = 0.9
    probability[0, 2:9, 2:9, 1:] = 0.8
    probability[0, 4:7, 4:7, 2] = 0.1
    labels = label_mask(probability, NESTED.model, 0.5)
    np.testing.assert_array_equal(
        post_processed(
            labels, likeliest_labels(probability, NESTED.model), PostProcessing(fill_holes=True), NESTED, None
        ),
        labels,
    )


@pytest.mark.parametrize(("recipe", "sure", "filled"), [(NESTED, [0.4, 0.3, 0.1], 2), (EXCLUSIVE, [0.1, 0.3], 2)])
def test_a_hole_gets_the_label_of_the_likeliest_region_there(recipe, sure, filled):
    probability = np.zeros((1, 9, 9, len(sure)), np.float32)
    probability[0, 2:7, 2:7, 0] = 0.9
    probability[0, 4, 4] = sure
    labels = label_mask(probability, recipe.model, 0.5)
    assert labels[0, 4, 4] == 0
    kept = post_processed(
        labels, likeliest_labels(probability, recipe.model), PostProcessing(fill_holes=True), recipe, None
    )
    assert kept[0, 4, 4] == filled
    kept[0, 4, 4] = 0
    np.testing.assert_array_equal(kept, labels)
