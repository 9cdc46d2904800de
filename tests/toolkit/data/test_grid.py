"""To the model's grid and back: nothing is squeezed, nothing is lost between samples."""

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from toolkit.data.grid import from_grid, mask_to_grid, to_grid


def blob(shape, centre, radius):
    row, column = np.indices(shape)
    return (np.hypot(row - centre[0], column - centre[1]) <= radius)[None, ..., None].astype(np.float32)


def test_halving_is_the_mean_of_two_by_two_pixels():
    images = np.random.default_rng(0).random((2, 256, 256, 3)).astype(np.float32)
    by_hand = (images[:, ::2, ::2] + images[:, 1::2, ::2] + images[:, ::2, 1::2] + images[:, 1::2, 1::2]) / 4
    assert np.abs(to_grid(images, 128) - by_hand).max() < 1e-6


def test_halving_loses_no_thin_line():
    images = np.zeros((1, 64, 64, 1))
    images[0, 33] = 1
    assert to_grid(images, 16)[0, 8, :, 0] == pytest.approx(0.25)


def test_a_slice_of_the_grids_size_is_untouched():
    images = np.random.default_rng(0).random((2, 32, 32, 1)).astype(np.float32)
    assert (to_grid(images, 32) == images).all()
    assert (from_grid(images, 32, 32) == images).all()


@pytest.mark.parametrize(("shape", "top", "left"), [((20, 40), 10, 0), ((40, 26), 0, 7), ((21, 40), 9, 0)])
def test_a_slice_that_is_not_square_gets_margins_of_background_and_keeps_its_proportions(shape, top, left):
    images = 0.1 + np.random.default_rng(0).random((2, *shape, 1)).astype(np.float32)
    grid = to_grid(images, 40)
    assert (grid[:, top : top + shape[0], left : left + shape[1]] == images).all()
    assert np.count_nonzero(grid) == images.size
    assert (from_grid(grid, *shape) == images).all()


@pytest.mark.parametrize("shape", [(128, 128), (120, 90), (90, 121), (200, 64), (40, 30)])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_there_and_back_a_tumour_stays_where_it_is(shape, size):
    centre = (shape[0] * 0.62, shape[1] * 0.41)
    images = blob(shape, centre, radius=min(shape) / 6)
    back = from_grid(to_grid(images, size), *shape)
    assert back.shape == images.shape
    assert back.dtype == np.float32
    moved = np.subtract(center_of_mass(back[0, ..., 0]), center_of_mass(images[0, ..., 0]))
    assert np.abs(moved).max() < 0.2
    assert back.sum() == pytest.approx(images.sum(), rel=0.03)


def test_a_smooth_picture_survives_the_way_to_a_finer_grid_and_back():
    row, column = np.mgrid[:32, :32] / 32
    images = (np.sin(3 * row) + np.cos(2 * column))[None, ..., None].astype(np.float32)
    assert np.abs(from_grid(to_grid(images, 96), 32, 32) - images).max() < 0.02


def test_a_grid_pixel_is_tumour_if_half_of_its_area_is():
    mask = np.zeros((1, 2, 10), np.uint8)
    for block, tumour_pixels in enumerate([[], [(0, 0)], [(0, 0), (1, 1)], [(0, 0), (0, 1), (1, 0)]]):
        for row, column in tumour_pixels:
            mask[0, row, 2 * block + column] = 1
    mask[0, :, 8:] = 1
    # 10 wide and 2 high: a margin of 4 above, so that the blocks are row 2 of five.
    grid = mask_to_grid(mask, 5, classes=1)
    assert grid.dtype == np.float32
    assert grid[0, 2, :, 0].tolist() == [0, 0, 1, 1, 1]
    assert grid.sum() == 3


def test_each_label_has_a_channel_and_any_label_is_tumour():
    mask = np.array([[0, 1], [2, 7]])[None]
    assert mask_to_grid(mask, 2, classes=2)[0].tolist() == [[[0, 0], [1, 0]], [[0, 1], [0, 0]]]
    assert mask_to_grid(mask, 2, classes=1)[0, ..., 0].tolist() == [[0, 1], [1, 1]]


def test_more_channels_than_a_colour_picture_has():
    mask = np.kron(np.arange(9).reshape(3, 3), np.ones((4, 4), int))[None]
    grid = mask_to_grid(mask, 6, classes=8)
    assert grid.shape == (1, 6, 6, 8)
    assert grid.sum(axis=(0, 1, 2)).tolist() == [4.0] * 8
