from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.case_pictures import SHEET_SLICES
from toolkit.data.case import Case
from toolkit.pictures import PREDICTION_COLOUR
from toolkit.report.overlay_picture import overlay_picture, shown_modality
from toolkit.report.predicted_case import PredictedCase


def predicted(n_slices: int, tumour: range) -> PredictedCase:
    mask = np.zeros((n_slices, 32, 32), np.uint8)
    mask[list(tumour), 10:20, 10:20] = 1
    return PredictedCase(
        name="case",
        input_path=Path("case.nii"),
        plane="axial",
        modalities=("t1c",),
        shown="t1c",
        images=np.zeros(mask.shape, np.int16),
        value_range=(0.0, 1.0),
        highest_probability=mask.max(axis=(1, 2)).astype(np.float32),
        mask=mask,
        spacing_mm=None,
        spacing_is_placeholder=False,
        measures={},
        mask_path=Path("case_mask.nii"),
        overlay_path=Path("case_overlay.png"),
    )


def tiles(picture: np.ndarray, height: int = 256) -> int:
    """Tiles that show an outline, counted by connected rows and columns of its colour."""
    import cv2

    coloured = (picture == np.array(PREDICTION_COLOUR)).all(axis=-1).astype(np.uint8)
    return cv2.connectedComponents(cv2.dilate(coloured, np.ones((5, 5), np.uint8)))[0] - 1


def test_a_lone_slice_is_shown_large_enough_to_see():
    picture = overlay_picture(predicted(1, range(1)))
    assert picture.shape == (512, 512, 3)


def test_a_volume_shows_the_slices_with_tumour_only():
    assert tiles(overlay_picture(predicted(30, range(12, 17)))) == 5


def test_a_large_tumour_is_sampled_from_its_first_to_its_last_slice():
    assert tiles(overlay_picture(predicted(100, range(10, 90)))) == SHEET_SLICES


def test_a_volume_without_tumour_still_shows_the_head():
    picture = overlay_picture(predicted(40, range(0)))
    assert tiles(picture) == 0
    assert picture.shape[0] > 4 * 256


def test_pictures_show_the_modality_in_which_a_tumour_is_seen_best() -> None:
    names = ("t1n", "t2f", "t1c")

    def shown(modalities: tuple[str, ...], present: tuple[bool, ...]) -> str:
        case = Case(np.zeros((1, 4, 4, 3)), None, "p", "c", modalities, present=present)
        return modalities[shown_modality(case)]

    assert shown(names, (True, True, True)) == "t1c"
    assert shown(names, (True, True, False)) == "t2f"
    assert shown(names, (True, False, False)) == "t1n"
    assert shown(("pet", "swi", "ct"), (False, True, True)) == "swi"
