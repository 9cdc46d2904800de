"""A case and what a model says about it, as the report of a prediction takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# What may be known of every pixel, by its name in `Answer` and in files: how it is called, and its key in the viewer.
MAPS = {
    "uncertainty": ("Uncertainty", "u"),
    "disagreement": ("Disagreement", "d"),
    "attention": ("Attention gates", "a"),
    "grad_cam": ("Grad-CAM", "g"),
}


@dataclass(frozen=True)
class PredictedCase:
    """A case and what the model says about it.

    What is None has neither a control nor a column in the report.

    Args:
        name: heading of the case, and name of its page: safe as a file name.
        input_path: where it was read from.
        plane: as in `toolkit.data.case.PLANES`; unless unknown, slices lie as
            `toolkit.data.geometry` lays them, the radiological way.
        modalities: names of the modalities the model was given.
        shown: name of the modality in the pictures.
        images: `(slices, height, width)`, that modality, values as stored.
        value_range: values shown as black and white.
        highest_probability: `(slices,)`, of a pixel to be in any region.
        mask: `(slices, height, width)` uint8, above 0 is tumour.
        spacing_mm: `(slice, row, column)` distances, or None if unknown.
        spacing_is_placeholder: the file states a spacing that nobody measured;
            nothing in mm is shown then.
        measures: from `toolkit.inference.measures`.
        mask_path: the mask file that was written.
        overlay_path: the overlay picture that was written.
        map_paths: files of maps that were written, by their name in `MAPS`.
        dicom_seg_path: the DICOM SEG that was written, or None.
        labels: name and value of each label in the mask; each has its own colour.
        truth: `(slices, height, width)` labels, or None.
        maps: see `MAPS`; name to `(slices, height, width)` uint8, 255 is 1.
        uncertainty_score: of the whole case, the higher the less sure, or None.
        unlikeness: to the scans the model has learned from, above 1 more than is usual among those
            (`toolkit.data.familiarity`), or None.
        enhanced: `(slices, height, width)` uint8, or None; 255 is the brightest a network sees
            (`toolkit.data.intensity.CLIP` times the way from black to white).
        synthetic: made-up images; said above the case and on every picture.
    """

    name: str
    input_path: Path
    plane: str
    modalities: tuple[str, ...]
    shown: str
    images: np.ndarray
    value_range: tuple[float, float]
    highest_probability: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float, float] | None
    spacing_is_placeholder: bool
    measures: Mapping[str, Any]
    mask_path: Path
    overlay_path: Path
    map_paths: Mapping[str, Path] = field(default_factory=dict)
    dicom_seg_path: Path | None = None
    labels: Mapping[str, int] = field(default_factory=lambda: {"tumour": 1})
    truth: np.ndarray | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    uncertainty_score: float | None = None
    unlikeness: float | None = None
    enhanced: np.ndarray | None = None
    synthetic: bool = False

    @property
    def measured_spacing_mm(self) -> tuple[float, float, float] | None:
        """The spacing, if somebody measured it."""
        return None if self.spacing_is_placeholder else self.spacing_mm

    @property
    def is_unlike(self) -> bool:
        """Whether the scan is so unlike those the model has learned from that its mask may mean nothing."""
        return self.unlikeness is not None and self.unlikeness > 1

    @property
    def first_slice(self) -> int:
        """The slice to look at first: the one with the most tumour, else the middle one."""
        areas = (self.mask > 0).sum(axis=(1, 2))
        return int(areas.argmax()) if areas.any() else len(areas) // 2
