"""The report of a prediction: per case a slice viewer and its measures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from toolkit import pictures
from toolkit.report.page import data_uri, write_page

LONGEST_SIDE = 512
LONGEST_SIDE_OF_LONG_CASES = 384
LONG_CASE_SLICES = 64


@dataclass(frozen=True)
class PredictedCase:
    """A case and what the model says about it, as the report needs it.

    Args:
        name: heading of the case.
        input_path: where it was read from.
        plane: as in `toolkit.data.case.PLANES`.
        modalities: names of the modalities the model was given.
        shown: name of the modality in the pictures.
        images: `(slices, height, width)`, that modality, values as stored.
        value_range: values shown as black and white.
        highest_probability: `(slices,)`, of a pixel to be in any region.
        mask: `(slices, height, width)` uint8, above 0 is tumour.
        spacing_mm: `(slice, row, column)` distances, or None if unknown.
        spacing_is_placeholder: the file states a spacing that nobody measured;
            nothing in mm is shown then.
        measures: `area_pixels` and `area_mm2` (a number a slice; the latter None
            if unknown) and `volume_ml` (None if unknown); `regions`, where there are
            several, with `total_pixels` and `volume_ml` of each.
        mask_path: the mask file that was written.
        overlay_path: the overlay picture that was written.
        dicom_seg_path: the DICOM SEG that was written, or None.
        truth: `(slices, height, width)` labels, or None.
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
    dicom_seg_path: Path | None = None
    truth: np.ndarray | None = None
    synthetic: bool = False


def write_prediction_report(path: Path | str, cases: Iterable[PredictedCase], manifest: Mapping[str, Any]) -> None:
    """Write the report of a prediction as one HTML file that opens offline.

    Cases are taken one by one and written at once, so a generator keeps no
    more than one of them in memory.

    Args:
        path: the HTML file.
        cases: any number, none included.
        manifest: command, versions, seed, checksums, time; shown in the footer.

    Raises:
        OutputError: the file can't be written.
    """
    path = Path(path)
    write_page(path, "prediction.html.j2", cases=_views(cases, path.parent), manifest=manifest)


def _views(cases: Iterable[PredictedCase], folder: Path) -> Iterator[dict[str, Any]]:
    for index, case in enumerate(cases):
        yield _view(case, index, folder)


def _view(case: PredictedCase, index: int, folder: Path) -> dict[str, Any]:
    """What the template shows of a case, in plain values."""
    known = case.spacing_mm is not None and not case.spacing_is_placeholder
    areas = np.asarray(case.measures["area_pixels"])
    areas_mm2 = case.measures.get("area_mm2") if known else None
    height, width = case.mask.shape[1:]
    row_mm, column_mm = case.spacing_mm[1:] if known and case.spacing_mm else (1.0, 1.0)
    return {
        "id": f"case-{index + 1}",
        "case": case,
        "height": height,
        "width": width,
        "aspect": round(width * column_mm / (height * row_mm), 4),
        "first": int(areas.argmax() if areas.any() else len(areas) // 2),
        "slices": _slices(case),
        "spacing_known": known,
        "volume_ml": case.measures.get("volume_ml") if known else None,
        "area_pixels": int(areas.sum()),
        "regions": case.measures.get("regions", {}),
        "rows": [
            {
                "slice": i,
                "area_pixels": int(areas[i]),
                "area_mm2": None if areas_mm2 is None else float(areas_mm2[i]),
                "probability": float(case.highest_probability[i]),
            }
            for i in np.flatnonzero(areas)
        ],
        "files": [(name, file, _link(file, folder)) for name, file in _files(case)],
    }


def _slices(case: PredictedCase) -> list[dict[str, str]]:
    """Of every slice the picture, and the outlines as SVG paths, which stay sharp at any size."""
    longest = LONGEST_SIDE if len(case.images) <= LONG_CASE_SLICES else LONGEST_SIDE_OF_LONG_CASES
    slices = []
    for i, image in enumerate(case.images):
        picture = pictures.fit(pictures.to_grey(image, *case.value_range), longest)
        if case.synthetic:
            picture = pictures.label_synthetic(picture)
        slices.append(
            {
                "image": data_uri(picture, ".jpg"),
                "prediction": pictures.outline_path(case.mask[i]),
                "truth": "" if case.truth is None else pictures.outline_path(case.truth[i]),
            }
        )
    return slices


def _files(case: PredictedCase) -> list[tuple[str, Path]]:
    seg = [] if case.dicom_seg_path is None else [("DICOM SEG", case.dicom_seg_path)]
    return [("Mask", case.mask_path), *seg, ("Overlay", case.overlay_path)]


def _link(file: Path, folder: Path) -> str:
    """A link that still works when the whole output folder is moved."""
    return quote(os.path.relpath(file, folder).replace(os.sep, "/"), errors="surrogateescape")
