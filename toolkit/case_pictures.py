"""A case as one picture: a lone slice, or a sheet of those that show the tumour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toolkit.pictures import PANEL_HEIGHT, contact_sheet, map_overlay, to_grey

LONE_PICTURE_PIXELS = 512
SHEET_SLICES = 16


def case_picture(mask: np.ndarray, draw: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """The slice, or of a sequence up to 16 slices spread over the tumour. Slices are counted from 1, as in the report.

    Args:
        mask: `(slices, height, width)`, above 0 is tumour.
        draw: gives the picture of a slice, `(index, height)` to `(height, width, 3)` uint8.

    Returns:
        `(height, width, 3)` uint8.
    """
    if len(mask) == 1:
        return draw(0, max(LONE_PICTURE_PIXELS, mask.shape[1]))
    return contact_sheet([(f"slice {index + 1}", draw(index, PANEL_HEIGHT)) for index in shown_slices(mask)])


def map_picture(
    images: np.ndarray,
    value_range: tuple[float, float],
    values: np.ndarray,
    mask: np.ndarray,
    synthetic: bool = False,
) -> np.ndarray:
    """A case under the heat of a map, see `case_picture`.

    Args:
        images: `(slices, height, width)`, one modality, values as stored.
        value_range: values shown as black and white.
        values: `(slices, height, width)` uint8, 255 is 1.
        mask: `(slices, height, width)`, the prediction, above 0 is tumour.
        synthetic: write "SYNTHETIC" onto each picture.

    Returns:
        `(height, width, 3)` uint8.
    """

    def draw(index: int, height: int) -> np.ndarray:
        return map_overlay(to_grey(images[index], *value_range), values[index] / 255, mask[index], height, synthetic)

    return case_picture(mask, draw)


def shown_slices(mask: np.ndarray) -> list[int]:
    """Up to 16 slices spread from the first with tumour to the last; without any, over the case.

    Args:
        mask: `(slices, height, width)`, above 0 is tumour.
    """
    with_tumour = np.flatnonzero(mask.any(axis=(1, 2)))
    first, last = (with_tumour[0], with_tumour[-1]) if with_tumour.size else (0, len(mask) - 1)
    return np.unique(np.linspace(first, last, min(SHEET_SLICES, last - first + 1)).round().astype(int)).tolist()
