"""Diameters as with a ruler: against figures worked by hand, ellipses of known axes, and all lines tried."""

import time
from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull

from toolkit.inference.diameters import hull_diameters, largest_diameters


def ellipse(row_mm, column_mm, axes_mm, degrees, size=64):
    """`(1, size, size)`: pixels whose centre lies in an ellipse around the middle of the picture."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    x, y = columns * column_mm, rows * row_mm
    turn = np.deg2rad(degrees)
    long, short = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return ((2 * long / axes_mm[0]) ** 2 + (2 * short / axes_mm[1]) ** 2 <= 1)[np.newaxis]


def by_trying_all(mask, row_mm, column_mm):
    """Both diameters of one piece: all pairs of pixel corners; then the line across through each corner of the hull."""
    rows, columns = np.nonzero(mask)
    corners = np.unique(
        [(r + i, c + j) for r, c in zip(rows, columns, strict=True) for i in (0, 1) for j in (0, 1)], axis=0
    )
    points = corners * (row_mm, column_mm)
    pairs = [(np.linalg.norm(a - b), a, b) for a, b in combinations(points, 2)]
    longest = max(length for length, _, _ in pairs)
    outline = points[ConvexHull(points).vertices]
    across = 0.0
    for length, a, b in pairs:
        if length < longest * (1 - 1e-9):
            continue
        normal = (b - a) / length
        for place in outline @ normal:
            # Where the line at this place crosses the edges of the hull.
            crossings = []
            for p, q in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                start, end = p @ normal - place, q @ normal - place
                if abs(start) < 1e-9:
                    crossings.append(p)
                elif start * end < 0:
                    crossings.append(p + (q - p) * start / (start - end))
            across = max(across, *(np.linalg.norm(u - v) for u, v in combinations(crossings, 2)), 0.0)
    return longest, across


# --- by hand ------------------------------------------------------------------------


def test_a_pixel_is_measured_from_edge_to_edge():
    found = largest_diameters(np.ones((1, 1, 1), bool), 1.0, 1.0)
    assert found.largest_mm == pytest.approx(2**0.5)
    assert found.perpendicular_mm == pytest.approx(2**0.5)
    assert found.product_mm2 == pytest.approx(2)


def test_a_bar_of_3_by_4_mm_has_the_diagonal_and_what_lies_across_it():
    """Diagonal 5; from a corner at right angles to it to the long side: 3 / cos a, with cos a = 4 / 5."""
    for shape, row_mm, column_mm in (((3, 4), 1, 1), ((4, 3), 1, 1), ((6, 2), 0.5, 2), ((1, 1), 3, 4)):
        found = largest_diameters(np.ones((1, *shape), bool), row_mm, column_mm)
        assert found[:2] == pytest.approx((5, 3.75)), (shape, row_mm, column_mm)


def test_of_a_triangle_the_lines_are_its_base_and_its_height():
    assert hull_diameters(np.array([[0.0, 0], [4, 3], [10, 0]])) == pytest.approx((10, 3))


def test_of_equally_long_lines_the_one_counts_that_has_the_longest_across():
    """The base and both diagonals are 5 long; across the base is 3, across a diagonal 3.75, from (5, 0)."""
    trapezium = np.array([[0.0, 0], [5, 0], [4, 3], [1, 3]])
    for n in range(4):
        assert hull_diameters(np.roll(trapezium, n, axis=0)) == pytest.approx((5, 3.75))


def test_two_lesions_in_a_slice_are_not_measured_as_one():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 2, 2], mask[0, 15:18, 12:16] = True, True
    assert largest_diameters(mask, 1.0, 1.0)[:2] == pytest.approx((5, 3.75))


def test_the_slice_with_the_largest_product_is_taken_not_that_with_the_longest_line():
    mask = np.zeros((4, 30, 30), bool)
    mask[1, 3, 2:28] = True  # long and thin
    mask[2, 4:20, 5:21] = True
    found = largest_diameters(mask, 1.0, 1.0)
    assert found.slice_index == 2
    assert found[:2] == pytest.approx((16 * 2**0.5,) * 2)


def test_a_line_may_cross_a_notch():
    ring = ellipse(1, 1, (30, 30), 0) & ~ellipse(1, 1, (16, 16), 0)
    ring[0, 32:, 30:34] = False
    np.testing.assert_allclose(largest_diameters(ring, 1, 1)[:2], 30, atol=1.5)


def test_without_tumour_there_is_nothing_to_measure():
    assert largest_diameters(np.zeros((3, 8, 8), bool), 1.0, 1.0) is None


# --- against others -----------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 122])
@pytest.mark.parametrize(("row_mm", "column_mm"), [(1, 1), (0.5, 1.2), (2, 0.7)])
def test_of_an_ellipse_the_axes_are_found_however_it_lies(row_mm, column_mm, degrees):
    """Edges of pixels reach beyond the ellipse by half a pixel's diagonal at most, at either end."""
    found = largest_diameters(ellipse(row_mm, column_mm, (40, 22), degrees, 96), row_mm, column_mm)
    slack = np.hypot(row_mm, column_mm)
    assert 40 - slack <= found.largest_mm <= 40 + slack
    # The longest line is found a little askew, so that the other leans, too.
    assert 22 - slack <= found.perpendicular_mm <= 22 + 1.5 * slack


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.8, 1.3), (2.0, 0.5)])
@pytest.mark.parametrize("seed", range(8))
def test_no_line_of_all_is_longer(seed, spacing_mm):
    rng = np.random.default_rng(seed)
    mask = np.zeros((1, 9, 9), bool)
    row, column = rng.integers(1, 8, 2)
    for _ in range(rng.integers(1, 25)):  # a walk hangs together
        mask[0, row, column] = True
        row, column = np.clip(np.array([row, column]) + rng.integers(-1, 2, 2), 0, 8)
    expected = by_trying_all(mask[0], *spacing_mm)
    assert largest_diameters(mask, *spacing_mm)[:2] == pytest.approx(expected)


def test_of_many_pieces_none_with_a_larger_product_is_missed():
    """That small boxes are left out must not change the result."""
    mask = np.random.default_rng(0).random((3, 40, 40)) < 0.25
    products = []
    for plane in mask:
        labels, n = ndimage.label(plane, np.ones((3, 3)))
        pieces = [largest_diameters((labels == k)[np.newaxis], 0.9, 1.1) for k in range(1, n + 1)]
        products += [piece.product_mm2 for piece in pieces]
    assert largest_diameters(mask, 0.9, 1.1).product_mm2 == pytest.approx(max(products))


def test_turning_and_mirroring_change_nothing():
    mask = ellipse(1, 1, (31, 17), 33) | ellipse(1, 1, (21, 19), 80)
    expected = largest_diameters(mask, 1.0, 1.3)[:2]
    for other, spacing_mm in (
        (mask[:, ::-1], (1.0, 1.3)),
        (mask[..., ::-1], (1.0, 1.3)),
        (mask.swapaxes(1, 2), (1.3, 1.0)),
    ):
        assert largest_diameters(other, *spacing_mm)[:2] == pytest.approx(expected)


def test_a_whole_volume_takes_no_time_to_speak_of():
    """A large tumour, and specks everywhere: the worst an untrained model does."""
    rng = np.random.default_rng(0)
    mask = rng.random((155, 240, 240)) < 0.02
    slices, rows, columns = np.indices(mask.shape, sparse=True)
    mask |= ((slices - 70) / 30) ** 2 + ((rows - 100) / 40) ** 2 + ((columns - 90) / 45) ** 2 < 1
    start = time.process_time()
    assert largest_diameters(mask, 1.0, 1.0).largest_mm > 88
    assert time.process_time() - start < 5
