"""One draw moves image and mask alike, and moves them where trigonometry says."""

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from toolkit.config import AugmentationRecipe
from toolkit.transforms.spatial import draw_spatial, random_square, smooth_field

STILL = {"rotation_degrees": 0, "flip": False, "zoom": 0, "shift": 0, "elastic_pixels": 0}
SIZE = 65
CENTRE = 32


class Fixed:
    """A generator whose every draw is the same, so that the change is known."""

    def __init__(self, uniform=0.0, random=0.9):
        self._uniform, self._random = uniform, random

    def uniform(self, low, high, size=None):
        value = low + (high - low) * (self._uniform + 1) / 2
        return value if size is None else np.full(size, value)

    def random(self):
        return self._random


def spot(row, column, radius=2.5):
    rows, columns = np.indices((SIZE, SIZE))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))[None, ..., None].astype(np.float32)


def moved(change, row, column):
    return np.array(center_of_mass(change.image(spot(row, column))[0, ..., 0]))


@pytest.mark.parametrize("degrees", [15, 30, 90])
@pytest.mark.parametrize("sign", [1, -1])
def test_rotation_turns_a_spot_about_the_centre_by_the_angle(degrees, sign):
    """A spot 15 right of the centre ends at distance 15 and at the angle, clockwise on the screen or against."""
    change = draw_spatial(Fixed(sign), AugmentationRecipe(**{**STILL, "rotation_degrees": degrees}), SIZE)
    row, column = moved(change, CENTRE, CENTRE + 15) - CENTRE
    angle = np.deg2rad(degrees)
    assert np.hypot(row, column) == pytest.approx(15, abs=0.1)
    assert column == pytest.approx(15 * np.cos(angle), abs=0.1)
    assert abs(row) == pytest.approx(15 * np.sin(angle), abs=0.1)
    other = draw_spatial(Fixed(-sign), AugmentationRecipe(**{**STILL, "rotation_degrees": degrees}), SIZE)
    assert moved(other, CENTRE, CENTRE + 15)[0] - CENTRE == pytest.approx(-row, abs=0.1)


def test_a_flip_changes_left_and_right_only():
    recipe = AugmentationRecipe(**{**STILL, "flip": True})
    image = np.random.default_rng(0).random((2, SIZE, SIZE, 1)).astype(np.float32)
    assert (draw_spatial(Fixed(random=0.1), recipe, SIZE).image(image) == image[:, :, ::-1]).all()
    assert (draw_spatial(Fixed(random=0.9), recipe, SIZE).image(image) == image).all()


@pytest.mark.parametrize(("draw", "scale"), [(1, 1.25), (-1, 0.75)])
def test_zoom_scales_about_the_centre(draw, scale):
    change = draw_spatial(Fixed(draw), AugmentationRecipe(**{**STILL, "zoom": 0.25}), SIZE)
    assert moved(change, CENTRE + 8, CENTRE - 12) - CENTRE == pytest.approx([8 * scale, -12 * scale], abs=0.1)


def test_a_shift_is_a_fraction_of_the_width():
    change = draw_spatial(Fixed(1), AugmentationRecipe(**{**STILL, "shift": 0.1}), SIZE)
    assert moved(change, CENTRE, CENTRE) - CENTRE == pytest.approx([-6.5, -6.5], abs=0.1)


def test_ranges_of_zero_change_nothing():
    image = np.random.default_rng(0).random((3, SIZE, SIZE, 2)).astype(np.float32)
    for seed in range(5):
        change = draw_spatial(np.random.default_rng(seed), AugmentationRecipe(**STILL), SIZE)
        assert (change.image(image) == image).all()
        assert (change.mask(image) == image).all()


def test_what_comes_from_outside_is_background():
    change = draw_spatial(Fixed(1), AugmentationRecipe(**{**STILL, "shift": 0.5}), 64)
    result = change.image(np.ones((1, 64, 64, 6), np.float32))
    assert result[0, :31, :31].min() == 1
    assert result[0, 33:].max() == result[0, :, 33:].max() == 0


@pytest.mark.parametrize("size", [64, 128])
def test_elastic_deformation_is_smooth_and_stays_within_its_range(size):
    recipe = AugmentationRecipe(**{**STILL, "elastic_pixels": 6})
    row, column = np.mgrid[:size, :size]
    largest = 0
    for seed in range(20):
        change = draw_spatial(np.random.default_rng(seed), recipe, size)
        for field in (change.x - column, change.y - row):
            largest = max(largest, np.abs(field).max())
            steepest = max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1))
            assert steepest < 1, "at 1 the picture would fold over itself"
    assert 0.7 * 6 * size / 128 < largest <= 6 * size / 128


def test_elastic_deformation_of_rows_and_of_columns_have_nothing_in_common():
    """Were they one field, everything would move along one diagonal."""
    recipe = AugmentationRecipe(**{**STILL, "elastic_pixels": 4})
    row, column = np.mgrid[:64, :64]
    correlations = []
    for seed in range(200):
        change = draw_spatial(np.random.default_rng(seed), recipe, 64)
        correlations.append(np.corrcoef((change.x - column).ravel(), (change.y - row).ravel())[0, 1])
    assert abs(np.mean(correlations)) < 0.06
    assert np.median(np.abs(correlations)) < 0.35


def test_all_slices_and_channels_move_alike():
    image = np.broadcast_to(spot(20, 40), (4, SIZE, SIZE, 3)).copy()
    result = draw_spatial(np.random.default_rng(1), AugmentationRecipe(), SIZE).image(image)
    assert result.shape == image.shape
    assert (result == result[:1, ..., :1]).all()
    assert not np.array_equal(result, image)


def test_the_values_of_a_mask_stay_what_they_are():
    labels = np.kron(np.arange(25).reshape(5, 5) % 4, np.ones((13, 13)))[None, ..., None].astype(np.float32)
    for seed in range(10):
        moved_labels = draw_spatial(np.random.default_rng(seed), AugmentationRecipe(), SIZE).mask(labels)
        assert set(np.unique(moved_labels)) <= {0, 1, 2, 3}
        assert not np.array_equal(moved_labels, labels)


def test_a_square_is_the_same_place_of_all_slices_and_inside_the_head():
    rows, columns = np.indices((64, 64))
    head = (np.hypot(rows - 44, columns - 44) < 16).astype(np.float32)
    images = np.arange(1, 6, dtype=np.float32).reshape(-1, 1, 1, 1) * head[None, ..., None].repeat(2, axis=-1)
    squares = [random_square(np.random.default_rng(seed), images, 16) for seed in range(20)]
    assert {square.shape for square in squares} == {(5, 16, 16, 2)}
    for square in squares:
        np.testing.assert_array_equal(square, np.arange(1, 6).reshape(-1, 1, 1, 1) * square[:1, ..., :1].repeat(2, -1))
    inside = np.array([square[0].mean() for square in squares])
    # By chance an eighth of the places has so much of the head; ten draws miss it in a quarter of cases.
    assert (inside > 0.5).mean() > 0.6
    assert len(set(inside)) > 10


def test_squares_lie_everywhere_where_there_is_no_head_and_may_be_the_whole():
    images = np.zeros((1, 32, 32, 1), np.float32)
    images[0, ..., 0] = np.indices((32, 32)).sum(axis=0) / 1e6
    corners = {round(float(random_square(np.random.default_rng(s), images, 16)[0, 0, 0, 0] * 1e6)) for s in range(300)}
    assert min(corners) <= 1
    assert max(corners) >= 31
    np.testing.assert_array_equal(random_square(np.random.default_rng(1), images, 32), images)


@pytest.mark.parametrize("knots", [3, 5])
def test_a_smooth_field_uses_its_range_and_is_even_handed(knots):
    fields = np.stack([smooth_field(np.random.default_rng(seed), 48, knots) for seed in range(200)])
    assert fields.shape == (200, 48, 48)
    assert -1 <= fields.min() < -0.9
    assert 0.9 < fields.max() <= 1
    assert abs(fields.mean()) < 0.05
