"""Slices larger than the grid, in tiles: nothing is lost, nothing is seen at their seams."""

import numpy as np
import pytest

from tests.small_models import SIZE, small_info
from toolkit.data.intensity import normalise
from toolkit.inference.runtimes.by_windows import WindowRuntime
from toolkit.inference.tiles import Tiled, gaussian, starts

LIMITS = np.array([[0.0, 100.0]], np.float32)


class Pointwise(WindowRuntime):
    """The square of each pixel, or with `centre` how far away the tile's middle is."""

    batch_windows, batch_slices = 2, 3
    name = "pointwise"

    def __init__(self, centre=False, **data):
        self.info, self.centre, self.asked = small_info(data), centre, []

    def enhance(self, batch):
        return batch

    def network(self, slices, wanted):
        self.asked.append(slices)
        if not self.centre:
            return {"probability": slices**2}
        place = np.abs(np.arange(SIZE) - (SIZE - 1) / 2) / SIZE
        return {"probability": np.broadcast_to(np.maximum.outer(place, place)[None, ..., None], slices.shape)}


def images(n, height, width):
    return np.random.default_rng(3).integers(0, 100, (n, height, width, 1)).astype(np.uint8)


@pytest.mark.parametrize("plane", [(80, 70), (33, 32), (100, 32), (32, 65), (20, 50)])
@pytest.mark.parametrize("n_slices", [1, 6])
def test_tiles_of_a_pointwise_network_are_the_whole(plane, n_slices):
    scan = images(n_slices, *plane)
    tiled = Tiled(Pointwise()).probability(scan, LIMITS, None)
    np.testing.assert_allclose(tiled, normalise(scan, LIMITS) ** 2, atol=1e-6)


def test_without_tiles_the_same_slices_would_be_made_smaller():
    scan = images(1, 80, 70)
    whole = Pointwise().probability(scan, LIMITS, None)
    assert np.abs(whole - normalise(scan, LIMITS) ** 2).max() > 0.1


def test_a_slice_no_larger_than_a_tile_is_not_cut():
    runtime, scan = Pointwise(), images(4, 24, 32)
    np.testing.assert_array_equal(
        Tiled(runtime).probability(scan, LIMITS, None), Pointwise().probability(scan, LIMITS, None)
    )
    assert sum(map(len, runtime.asked)) == 6  # two batches of three


def test_in_a_model_in_mm_a_tile_covers_as_many_mm_as_the_grid():
    """Pixels of 0.5 mm on a grid of 1 mm: 64 of them fill the 32 of a tile."""
    runtime = Pointwise(spacing_mm=(2.0, 1.0, 1.0))
    scan = np.repeat(np.repeat(images(1, 64, 64), 2, axis=1), 2, axis=2)
    tiled = Tiled(runtime).probability(scan, LIMITS, (2.0, 0.5, 0.5))
    assert tiled.shape == scan.shape
    assert len({batch[0].tobytes() for batch in runtime.asked}) == 9
    # A grid as large as the slice needs no tiles. Only at a tile's edge, where it weighs least, it resizes otherwise.
    whole = Pointwise(spacing_mm=(2.0, 1.0, 1.0), image_size=64).probability(scan, LIMITS, (2.0, 0.5, 0.5))
    assert np.abs(tiled - whole).mean() < 0.01
    assert np.median(np.abs(tiled - whole)) < 1e-6


def test_where_tiles_overlap_the_one_whose_middle_is_nearer_counts_more():
    answer = Tiled(Pointwise(centre=True)).probability(images(1, 32, 48), LIMITS, None)[0, 16, :, 0]
    one, other = np.abs(np.arange(48) - 15.5) / 32, np.abs(np.arange(48) - 31.5) / 32
    own_height = 0.5 / 32
    nearer, farther = (np.maximum(f(one, other), own_height) for f in (np.minimum, np.maximum))
    overlap = slice(16, 32)
    assert (answer[overlap] < (nearer + farther)[overlap] / 2 + 1e-6).all()
    np.testing.assert_allclose(answer[:16], np.maximum(one, own_height)[:16], atol=1e-6)


@pytest.mark.parametrize(("length", "tile"), [(32, 32), (33, 32), (48, 32), (49, 32), (512, 128), (1000, 128)])
def test_tiles_begin_evenly_and_at_most_half_a_tile_apart(length, tile):
    places = starts(length, tile)
    assert (places[0], places[-1]) == (0, length - tile)
    steps = np.diff(places)
    assert (steps > 0).all()
    assert (steps <= tile / 2).all()
    assert np.ptp(steps) <= 1 if len(steps) else length == tile


def test_weights_are_gaussian_with_an_eighth_of_the_tile():
    weights = gaussian(65)
    assert weights[32] == 1
    assert weights[32 + 8] == pytest.approx(np.exp(-0.5 * (8 / (65 / 8)) ** 2))
    np.testing.assert_array_equal(weights, weights[::-1])
