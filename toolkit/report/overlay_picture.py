"""The picture of a case that lies beside its mask: the slices with the tumour outlined."""

from __future__ import annotations

import numpy as np

from toolkit.case_pictures import case_picture
from toolkit.data.case import Case
from toolkit.pictures import overlay, to_grey
from toolkit.report.predicted_case import PredictedCase

SHOWN_FIRST = ("t1c", "t2f")


def shown_modality(case: Case) -> int:
    """Which modality pictures show: the one in which a tumour is seen best, of those that are there."""
    there = [index for index, present in enumerate(case.present) if present]
    best = [index for name in SHOWN_FIRST for index in there if case.modalities[index] == name]
    return [*best, *there][0]


def overlay_picture(case: PredictedCase) -> np.ndarray:
    """A case with the outlines of its mask and, where known, of the truth; see `toolkit.case_pictures.case_picture`.

    Returns:
        `(height, width, 3)` uint8.
    """
    truth = [None] * len(case.mask) if case.truth is None else list(case.truth)

    def draw(index: int, height: int) -> np.ndarray:
        grey = to_grey(case.images[index], *case.value_range)
        return overlay(grey, case.mask[index], truth[index], height, case.synthetic)

    return case_picture(case.mask, draw)
