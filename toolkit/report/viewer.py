"""What the viewer of a case gets: pictures, outlines and maps of its slices, small enough for a page.

Layers are data: `viewer.js` knows kinds of layers, not what they mean. Pictures and maps travel as 8-bit
PNG; masks as outlines of the full resolution, so that no lesion is lost where pictures are made smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from toolkit import pictures
from toolkit.data.intensity import CLIP
from toolkit.report.page import data_uri
from toolkit.report.predicted_case import MAPS, PredictedCase

# A page holds so many pixels a layer: 160 slices of 256 x 256, or 40 of 512 x 512.
MOST_SLICES = 160
MOST_PIXELS = MOST_SLICES * 256 * 256
LONGEST_SIDE = 512
MOST_CORNERS = 2000  # of a label's outlines in a slice; tumours have some hundreds, noise tens of thousands
# As in overlay pictures; of several labels the others take more colours of Okabe and Ito.
LABEL_COLOURS = (pictures.PREDICTION_COLOUR, (204, 121, 167), (0, 158, 115), (240, 228, 66), (213, 94, 0))
# What lies at the left, right, top and bottom edge of a picture (right, left, anterior, posterior, superior, inferior).
EDGES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


@dataclass(frozen=True)
class Outline:
    """The outline of one label.

    Args:
        name: of the label.
        colour: red, green, blue.
        paths: SVG path data of each slice shown, one unit a pixel of the scan.
        left_out: pieces that are not drawn, in all slices together.
    """

    name: str
    colour: tuple[int, int, int]
    paths: list[str]
    left_out: int


@dataclass(frozen=True)
class Layer:
    """Something that can be laid over the slices, or shown in their place.

    Args:
        name: beside its toggle.
        key: on the keyboard.
        kind: `fill` (outlines, filled), `line` (outlines, dashed), `map` (colours by value) or
            `picture` (in place of the scan).
        on: shown at first.
        outlines: of a `fill` or `line`.
        pictures: data URIs of each slice shown, of a `map` or `picture`.
    """

    name: str
    key: str
    kind: Literal["fill", "line", "map", "picture"]
    on: bool = False
    outlines: tuple[Outline, ...] = ()
    pictures: tuple[str, ...] = ()


def shown_slices(mask: np.ndarray, most: int = MOST_SLICES) -> np.ndarray:
    """Which slices a page holds: all, or of each of `most` groups of neighbours the one with the most tumour.

    Args:
        mask: `(slices, height, width)`, above 0 is tumour.
        most: slices a page may hold.
    """
    areas = (mask > 0).sum(axis=(1, 2))
    groups = np.array_split(np.arange(len(mask)), min(most, len(mask)))
    return np.array([group[areas[group].argmax()] for group in groups])


def layers(case: PredictedCase, shown: np.ndarray) -> list[Layer]:
    """The layers a case has, from bottom to top.

    Args:
        case: whatever of it is None has no layer.
        shown: indices of the slices, from `shown_slices`.
    """
    found = []
    if case.enhanced is not None:
        found.append(Layer("Enhanced image", "e", "picture", pictures=_enhanced(case, case.enhanced, shown)))
    found += [Layer(*MAPS[name], "map", pictures=_maps(values, shown)) for name, values in case.maps.items()]
    labels = tuple(
        _outline(name, LABEL_COLOURS[i % len(LABEL_COLOURS)], case.mask == value, shown)
        for i, (name, value) in enumerate(case.labels.items())
    )
    found.append(Layer("Prediction", "m", "fill", on=True, outlines=labels))
    if case.truth is not None:
        truth = _outline("tumour", pictures.TRUTH_COLOUR, case.truth > 0, shown)
        found.append(Layer("Truth", "t", "line", on=True, outlines=(truth,)))
    return found


def viewer_data(case: PredictedCase, shown: np.ndarray, drawn: Sequence[Layer]) -> dict[str, Any]:
    """All that `viewer.js` reads, as plain values for JSON.

    Args:
        case: the case.
        shown: indices of the slices, from `shown_slices`.
        drawn: from `layers`.
    """
    height, width = case.mask.shape[1:]
    _, row_mm, column_mm = case.measured_spacing_mm or (1.0, 1.0, 1.0)
    black, white = case.value_range
    lowest, highest = embedded_range(case)
    return {
        "name": case.name,
        "slices": len(case.mask),
        "numbers": (shown + 1).tolist(),
        "first": int(np.abs(shown - case.first_slice).argmin()),
        "marked": (case.mask[shown] > 0).any(axis=(1, 2)).tolist(),
        "pixels": [width, height],
        "aspect": width * column_mm / (height * row_mm),
        "range": [lowest, highest],
        "black": (black - lowest) / (highest - lowest),
        "white": (white - lowest) / (highest - lowest),
        "pictures": _pictures(case.images, shown, case),
        "heat": pictures.heat(np.arange(256)[None] / 255)[0].tolist(),
        "layers": [asdict(layer) for layer in drawn],
    }


def embedded_range(case: PredictedCase) -> tuple[float, float]:
    """Values that 8 bits stand for: beyond white as far as the model sees, so that a window can be opened there."""
    black, white = case.value_range
    white = white if white > black else black + 1.0
    return black, min(max(float(np.nanmax(case.images)), white), black + CLIP * (white - black))


def overlay_of_first_slice(case: PredictedCase, longest: int) -> np.ndarray:
    """The slice to look at first, with outlines, for thumbnails and where no script runs: RGB uint8."""
    index = case.first_slice
    grey = pictures.to_grey(case.images[index], *case.value_range)
    truth = None if case.truth is None else case.truth[index]
    height = max(1, round(longest * grey.shape[0] / max(grey.shape)))
    return pictures.overlay(grey, case.mask[index], truth, height, case.synthetic)


def picture_size(case: PredictedCase, n_shown: int) -> tuple[int, int]:
    """Height and width of the pictures of a case of which `n_shown` slices are shown."""
    return pictures.fit(case.mask[0], _longest(n_shown)).shape[:2]


def _longest(n_shown: int) -> int:
    return min(LONGEST_SIDE, math.isqrt(MOST_PIXELS // n_shown))


def _pictures(images: Sequence[np.ndarray] | np.ndarray, shown: np.ndarray, case: PredictedCase) -> tuple[str, ...]:
    lowest, highest = embedded_range(case)
    uris = []
    for index in shown:
        grey = pictures.fit(pictures.to_grey(images[index], lowest, highest), _longest(len(shown)))
        uris.append(data_uri(pictures.label_synthetic(grey) if case.synthetic else grey))
    return tuple(uris)


def _enhanced(case: PredictedCase, values: np.ndarray, shown: np.ndarray) -> tuple[str, ...]:
    """Enhanced slices on the scale of the scan's own."""
    black, white = case.value_range
    scale = CLIP * (white - black) / 255
    return _pictures([black + scale * values[index] for index in shown], np.arange(len(shown)), case)


def _maps(values: np.ndarray, shown: np.ndarray) -> tuple[str, ...]:
    return tuple(data_uri(pictures.fit(values[index], _longest(len(shown)))) for index in shown)


def _outline(name: str, colour: tuple[int, int, int], inside: np.ndarray, shown: np.ndarray) -> Outline:
    drawn = [pictures.outline_path(inside[index], MOST_CORNERS) for index in shown]
    return Outline(name, colour, [path.data for path in drawn], sum(path.left_out for path in drawn))
