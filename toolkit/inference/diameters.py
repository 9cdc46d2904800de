"""The two diameters of a tumour as radiologists report them: the largest within a slice, and the one across it.

The product of perpendicular diameters is what response to treatment is judged by (Macdonald et al. 1990,
doi:10.1200/JCO.1990.8.7.1277; RANO: Wen et al. 2010, doi:10.1200/JCO.2009.26.3541).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

# Diameters that differ by less, as a share of their length, are equally long: the rest is rounding.
EQUALLY_LONG = 1e-9


class Diameters(NamedTuple):
    """Two perpendicular diameters of one piece of tumour in one slice.

    Args:
        largest_mm: the longest straight line between two points of the piece.
        perpendicular_mm: the longest one at right angles to it.
        slice_index: the slice they lie in, from 0.
    """

    largest_mm: float
    perpendicular_mm: float
    slice_index: int

    @property
    def product_mm2(self) -> float:
        """Product of both."""
        return self.largest_mm * self.perpendicular_mm


def largest_diameters(mask: np.ndarray, row_mm: float, column_mm: float) -> Diameters | None:
    """The diameters of the slice in which their product is largest.

    Each piece that hangs together within its slice (8 neighbours) is measured for itself: a line over to another lesion
    is no diameter. Lines run between the outer edges of pixels, so a pixel of 1 mm has a diameter of its diagonal,
    1.41 mm. They may cross a notch or a hole, as a ruler does: what is measured is the convex hull.

    Args:
        mask: bool, `(slices, height, width)`, slices as they were acquired.
        row_mm: distance of rows.
        column_mm: distance of columns.

    Returns:
        None where the mask is empty.
    """
    best: Diameters | None = None
    pieces = _Pieces(mask)
    # A piece has both diameters crossing in it, and half their product is the area of the quadrangle they span: no more
    # than that of the box around it. So most pieces need no second look.
    limits = 2 * pieces.box_areas * row_mm * column_mm
    for number in np.argsort(-limits, kind="stable"):
        if best is not None and limits[number] <= best.product_mm2:
            break
        found = Diameters(*hull_diameters(pieces.hull(number) * (column_mm, row_mm)), int(pieces.slice_indices[number]))
        if best is None or found.product_mm2 > best.product_mm2:
            best = found
    return best


def hull_diameters(hull: np.ndarray) -> tuple[float, float]:
    """The longest line in a convex polygon, and the longest at right angles to it.

    Where several are longest, that one counts which has the longest across.

    Args:
        hull: `(corners, 2)` in mm, in order, three at least.
    """
    distances = np.linalg.norm(hull[:, np.newaxis] - hull, axis=-1)
    longest = distances.max()
    ends = np.argwhere(np.triu(distances) >= longest * (1 - EQUALLY_LONG))
    return float(longest), max(_longest_across(hull, *pair) for pair in ends.tolist())


def _longest_across(hull: np.ndarray, start: int, end: int) -> float:
    """The longest line in a convex polygon at right angles to the one between two of its corners."""
    along = (hull[end] - hull[start]) / np.linalg.norm(hull[end] - hull[start])
    turned = (hull - hull[start]) @ np.array([[along[0], -along[1]], [along[1], along[0]]])
    one_way, other_way = turned[start : end + 1], np.concatenate([turned[end:], turned[: start + 1]])[::-1]
    # Between corners the distance of both outlines changes linearly, so it is longest at one of them.
    places = turned[:, 0]
    across = np.interp(places, *one_way.T) - np.interp(places, *other_way.T)
    return float(np.abs(across).max())


class _Pieces:
    """What hangs together within each slice of a mask."""

    def __init__(self, mask: np.ndarray) -> None:
        self._labels: list[np.ndarray] = []
        boxes, slice_indices = [np.empty((0, 5), np.int32)], [np.empty(0, np.int64)]
        for index, plane in enumerate(mask):
            n, labels, statistics, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
            self._labels.append(labels)
            numbers = np.arange(1, n, dtype=np.int32)
            boxes.append(np.column_stack([numbers, statistics[1:, : cv2.CC_STAT_HEIGHT + 1]]))
            slice_indices.append(np.full(n - 1, index))
        self._boxes, self.slice_indices = np.concatenate(boxes), np.concatenate(slice_indices)
        self.box_areas = self._boxes[:, 3].astype(np.float64) * self._boxes[:, 4]

    def hull(self, number: int) -> np.ndarray:
        """Convex hull of the pixels, edges included, `(corners, 2)`: columns and rows in pixels."""
        label, left, top, width, height = self._boxes[number]
        piece = self._labels[self.slice_indices[number]][top : top + height, left : left + width] == label
        # Each row of the box has a pixel; between the first and the last there is no corner.
        first, last = piece.argmax(axis=1), width - piece[:, ::-1].argmax(axis=1)
        rows = np.arange(height)
        edges = [np.column_stack([columns, rows + below]) for columns in (first, last) for below in (0, 1)]
        return cv2.convexHull(np.concatenate(edges).astype(np.int32))[:, 0].astype(np.float64)
