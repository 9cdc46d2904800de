"""The picture of a case that lies beside its mask: the slices with the tumour outlined."""

from __future__ import annotations

import numpy as np

from toolkit.data.case import Case
from toolkit.pictures import PANEL_HEIGHT, contact_sheet, overlay, to_grey
from toolkit.report.predicted_case import PredictedCase

LONE_PICTURE_PIXELS = 512
SHEET_SLICES = 16
SHOWN_FIRST = ("t1c", "t2f")


def shown_modality(case: Case) -> int:
    """Which modality pictures show: the one in which a tumour is seen best, of those that are there."""
    there = [index for index, present in enumerate(case.present) if present]
    best = [index for name in SHOWN_FIRST for index in there if case.modalities[index] == name]
    return [*best, *there][0]


def overlay_picture(case: PredictedCase) -> np.ndarray:
    """The slice, or of a sequence up to 16 slices spread over the tumour, with the outlines.

    Slices are counted from 1, as in the report.

    Returns:
        `(height, width, 3)` uint8.
    """
    low, high = case.value_range
    truth = [None] * len(case.mask) if case.truth is None else list(case.truth)
    if len(case.mask) == 1:
        grey = to_grey(case.images[0], low, high)
        height = max(LONE_PICTURE_PIXELS, grey.shape[0])
        return overlay(grey, case.mask[0], truth[0], height=height, synthetic=case.synthetic)
    with_tumour = np.flatnonzero(case.mask.any(axis=(1, 2)))
    first, last = (with_tumour[0], with_tumour[-1]) if with_tumour.size else (0, len(case.mask) - 1)
    shown = np.unique(np.linspace(first, last, min(SHEET_SLICES, last - first + 1)).round().astype(int))
    tiles = [
        (
            f"slice {i}",
            overlay(to_grey(case.images[i], low, high), case.mask[i], truth[i], PANEL_HEIGHT, case.synthetic),
        )
        for i in shown
    ]
    return contact_sheet(tiles)
