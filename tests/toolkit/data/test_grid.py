"""To the model's grid and back: nothing is squeezed, nothing is lost between samples."""

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, zoom

from toolkit.config import DataRecipe
from toolkit.data.grid import HALF, WayBack, model_grid, resize_weights


def grid_of(images, size, spacing_mm=None, target=None):
    return model_grid(images.shape[:3], spacing_mm, DataRecipe(image_size=size, spacing_mm=target))


def there(images, size, spacing_mm=None, target=None):
    grid = grid_of(images, size, spacing_mm, target)
    return grid.images(lambda slices: images[slices], np.arange(grid.n_slices))


def back(maps, images, size, spacing_mm=None, target=None):
    grid = grid_of(images, size, spacing_mm, target)
    way_back = WayBack(grid)
    slices = [one for index in range(grid.n_slices) for one in way_back.add(index, {"map": maps[index]})]
    return np.stack([one["map"] for one in slices])


def blob(shape, centre, radius):
    row, column = np.indices(shape)
    return (np.hypot(row - centre[0], column - centre[1]) <= radius)[None, ..., None].astype(np.float32)


def ball(shape, centre_mm, radius_mm, spacing_mm):
    """A ball in mm from the outer corner of the first voxel."""
    at = (np.moveaxis(np.indices(shape), 0, -1) + 0.5) * spacing_mm
    return (np.linalg.norm(at - centre_mm, axis=-1) <= radius_mm)[..., None].astype(np.float32)


# --- within a slice ---------------------------------------------------------------


def test_halving_is_the_mean_of_two_by_two_pixels():
    images = np.random.default_rng(0).random((2, 256, 256, 3)).astype(np.float32)
    by_hand = (images[:, ::2, ::2] + images[:, 1::2, ::2] + images[:, ::2, 1::2] + images[:, 1::2, 1::2]) / 4
    assert np.abs(there(images, 128) - by_hand).max() < 1e-6


def test_halving_loses_no_thin_line():
    images = np.zeros((1, 128, 128, 1))
    images[0, 65] = 1
    assert there(images, 32)[0, 16, :, 0] == pytest.approx(0.25)


def test_a_slice_of_the_grids_size_is_untouched():
    images = np.random.default_rng(0).random((2, 32, 32, 1)).astype(np.float32)
    assert (there(images, 32) == images).all()
    assert (back(images, images, 32) == images).all()


@pytest.mark.parametrize(("shape", "top", "left"), [((40, 64), 12, 0), ((64, 50), 0, 7), ((41, 64), 11, 0)])
def test_a_slice_that_is_not_square_gets_margins_of_background_and_keeps_its_proportions(shape, top, left):
    images = 0.1 + np.random.default_rng(0).random((2, *shape, 1)).astype(np.float32)
    grid = there(images, 64)
    assert (grid[:, top : top + shape[0], left : left + shape[1]] == images).all()
    assert np.count_nonzero(grid) == images.size
    assert (back(grid, images, 64) == images).all()


@pytest.mark.parametrize("shape", [(128, 128), (120, 90), (90, 121), (200, 64), (40, 30)])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_there_and_back_a_tumour_stays_where_it_is(shape, size):
    centre = (shape[0] * 0.62, shape[1] * 0.41)
    images = blob(shape, centre, radius=min(shape) / 6)
    again = back(there(images, size), images, size)
    assert again.shape == images.shape
    assert again.dtype == np.float32
    moved = np.subtract(center_of_mass(again[0, ..., 0]), center_of_mass(images[0, ..., 0]))
    assert np.abs(moved).max() < 0.2
    assert again.sum() == pytest.approx(images.sum(), rel=0.03)


def test_a_smooth_picture_survives_the_way_to_a_finer_grid_and_back():
    row, column = np.mgrid[:32, :32] / 32
    images = (np.sin(3 * row) + np.cos(2 * column))[None, ..., None].astype(np.float32)
    assert np.abs(back(there(images, 96), images, 96) - images).max() < 0.02


def test_a_grid_pixel_is_tumour_if_half_of_its_area_is():
    mask = np.zeros((1, 64, 64, 1), np.uint8)
    for block, tumour_pixels in enumerate([[], [(0, 0)], [(0, 0), (1, 1)], [(0, 0), (0, 1), (1, 0)]]):
        for row, column in tumour_pixels:
            mask[0, row, 2 * block + column] = 1
    regions = there(mask, 32) >= HALF
    assert regions[0, 0, :4, 0].tolist() == [0, 0, 1, 1]
    assert regions.sum() == 2


@pytest.mark.parametrize("size", [32, 64, 160])
def test_more_channels_than_a_colour_picture_has(size):
    images = np.random.default_rng(0).random((2, 64, 96, 9)).astype(np.float32)
    each = [there(images[..., c : c + 1], size) for c in range(9)]
    assert (there(images, size) == np.concatenate(each, axis=-1)).all()


# --- from slice to slice ----------------------------------------------------------


def test_a_sequence_that_keeps_its_distance_is_not_mixed():
    assert (resize_weights(7, 7) == np.eye(7)).all()


def test_half_as_many_slices_are_means_of_two():
    assert resize_weights(4, 2).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]


def test_twice_as_many_slices_are_interpolated_between_their_centres():
    # Centres of 4 slices in the numbering of 2: -0.25 (held at 0), 0.25, 0.75 and 1.25 (held at 1).
    assert resize_weights(2, 4).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]


@pytest.mark.parametrize(("n_from", "n_to"), [(24, 120), (155, 31), (7, 5), (5, 7), (1, 4), (9, 1)])
def test_shares_add_up_and_agree_with_scipy_where_it_interpolates(n_from, n_to):
    weights = resize_weights(n_from, n_to)
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    if n_to > n_from > 1:
        scipys = zoom(np.eye(n_from), (n_to / n_from, 1), order=1, grid_mode=True, mode="nearest")
        assert np.abs(weights - scipys).max() < 1e-5


def test_only_the_slices_that_are_needed_are_read():
    images, seen = np.random.default_rng(0).random((24, 32, 32, 1)), []
    grid = grid_of(images, 32, (5.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    grid.images(lambda slices: seen.extend(slices) or images[slices], np.array([50, 51, 52]))
    assert grid.n_slices == 120
    assert seen == [9, 10]


# --- in mm ------------------------------------------------------------------------


def test_a_head_of_other_voxels_is_round_on_a_grid_in_mm():
    spacing, target = (5.0, 0.9, 1.1), (2.0, 2.0, 2.0)
    shape = (24, 120, 100)
    images = ball(shape, np.multiply(shape, spacing) / 2, 40.0, spacing)
    grid = there(images, 64, spacing, target)[..., 0] >= 0.5
    extents = [np.ptp(np.flatnonzero(grid.any(axis=tuple({0, 1, 2} - {axis})))) + 1 for axis in range(3)]
    assert grid.shape == (60, 64, 64)
    assert extents[1:] == pytest.approx([40, 40], abs=1)
    assert extents[0] == pytest.approx(40, abs=3)  # within a source slice of 5 mm
    assert grid.sum() * 8 == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.03)


def test_a_slice_smaller_than_the_grid_is_not_blown_up_and_a_larger_one_loses_nothing():
    images = np.ones((1, 100, 50, 1), np.float32)
    assert np.count_nonzero(there(images, 64, (1, 1, 1), (1, 2, 2))) == 50 * 25
    assert np.count_nonzero(there(images, 64, (1, 1, 1), (1, 1, 1))) == 64 * 32


@pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (3.0, 2.0, 2.0), (7.0, 1.5, 0.8), None])
def test_there_and_back_a_lesion_stays_at_its_millimetre(target):
    spacing, shape = (5.0, 0.9, 1.1), (20, 90, 80)
    centre = np.array([62.0, 33.0, 51.0])
    images = ball(shape, centre, 14.0, spacing)
    again = back(there(images, 96, spacing, target), images, 96, spacing, target)
    moved = np.subtract(center_of_mass(again[..., 0]), center_of_mass(images[..., 0])) * spacing
    assert np.abs(moved).max() < 0.2
    overlap = 2 * ((again > 0.5) & (images > 0.5)).sum() / ((again > 0.5).sum() + images.sum())
    assert overlap > 0.85


def test_a_model_in_mm_can_not_take_a_case_without_spacing():
    with pytest.raises(ValueError, match=r"its spacing is unknown.*--spacing"):
        grid_of(np.zeros((1, 32, 32, 1)), 32, None, (1.0, 1.0, 1.0))
