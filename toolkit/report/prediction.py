"""The report of a prediction: a page a case with a slice viewer, and of several cases an index.

Of a run of many cases each page is written on its own, by whichever process did the case; the index is made of the rows
that are kept of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from toolkit.report.charts import Axis, Chart, histogram_chart
from toolkit.report.overview import Histogram
from toolkit.report.page import amount, data_uri, number, percent, write_page
from toolkit.report.predicted_case import MAPS, PredictedCase
from toolkit.report.viewer import (
    EDGES,
    embedded_range,
    layers,
    overlay_of_first_slice,
    picture_size,
    shown_slices,
    viewer_data,
)

CASE_FOLDER = "cases"
# The index holds a thumbnail of each case: those of many are smaller, lest it be too large to open.
THUMBNAIL_PIXELS, SMALL_THUMBNAIL_PIXELS = 128, 48
MANY_CASES = 500
STILL_PIXELS = 512
BINS = 48
# Intensities up to this part of the window are mostly air, of which there is so much that it hides the rest.
AIR = 0.1
# What of the tumour, and of each region, is in the table of measures: name and decimals (None: as it is).
MEASURES = {
    "volume_ml": ("Volume, ml", 2),
    "total_pixels": ("Pixels", None),
    "number_of_lesions": ("Lesions", None),
    "largest_diameter_mm": ("Largest diameter in a slice, mm", 1),
    "perpendicular_diameter_mm": ("Perpendicular to it, mm", 1),
    "diameter_slice_index": ("Slice of these diameters", None),
    "side": ("Side of the patient", None),
}


def thumbnail_pixels(n_cases: int) -> int:
    """Longest side of a thumbnail in an index of so many cases."""
    return THUMBNAIL_PIXELS if n_cases <= MANY_CASES else SMALL_THUMBNAIL_PIXELS


def case_page(index: Path, name: str) -> Path:
    """Where the page of a case lies.

    Args:
        index: that links to it.
        name: of the case.
    """
    return index.parent / CASE_FOLDER / f"{name}.html"


def write_index(
    path: Path, rows: Sequence[Mapping[str, Any]], failed: Sequence[tuple[str, str]], manifest: Mapping[str, Any]
) -> None:
    """Write the index of several cases, an HTML file that opens offline: those to be looked at first on top.

    Args:
        path: the HTML file.
        rows: of `index_row`.
        failed: scans that could not be read, and why.
        manifest: command, versions, seed, checksums, time.

    Raises:
        OutputError: the file can't be written.
    """
    has_score = any(row["score"] is not None for row in rows)
    if has_score:
        rows = sorted(rows, key=lambda row: -1.0 if row["score"] is None else row["score"], reverse=True)
    write_page(path, "prediction_index.html.j2", rows=rows, has_score=has_score, failed=failed, manifest=manifest)


def index_row(index: Path, case: PredictedCase, thumbnail: int) -> dict[str, Any]:
    """What the index shows of a case: plain values, and a thumbnail as data URI.

    Args:
        index: the file it will be in.
        case: the case.
        thumbnail: its longest side in pixels.
    """
    return {
        "link": _link(case_page(index, case.name), index.parent),
        "name": case.name,
        "thumbnail": data_uri(overlay_of_first_slice(case, thumbnail), ".webp"),
        "synthetic": case.synthetic,
        "score": case.uncertainty_score,
        "unlike": case.is_unlike,
        **_sizes(case),
    }


def write_case(path: Path, case: PredictedCase, manifest: Mapping[str, Any], index: Path | None = None) -> None:
    """Write the page of a case, an HTML file that opens offline.

    Args:
        path: the HTML file.
        case: the case.
        manifest: command, versions, seed, checksums, time.
        index: it links back to; None for a lone case.

    Raises:
        OutputError: the file can't be written.
    """
    shown = shown_slices(case.mask)
    drawn = layers(case, shown)
    size = picture_size(case, len(shown))
    write_page(
        path,
        "prediction.html.j2",
        case=case,
        index=None if index is None else _link(index, path.parent),
        data=viewer_data(case, shown, drawn),
        layers=drawn,
        edges=EDGES.get(case.plane, ""),
        still=data_uri(overlay_of_first_slice(case, STILL_PIXELS), ".jpg"),
        picture_size=size,
        pieces_left_out=sum(outline.left_out for layer in drawn for outline in layer.outlines),
        is_reduced=len(shown) < len(case.mask) or size != case.mask.shape[1:],
        sizes=_sizes(case),
        measured=_measured(case),
        rows=_slices_with_tumour(case),
        charts=_intensity_charts(case),
        files=[(name, file, _link(file, path.parent)) for name, file in _files(case)],
        manifest=manifest,
    )


def _sizes(case: PredictedCase) -> dict[str, Any]:
    areas = np.asarray(case.measures["area_pixels"])
    return {
        "volume_ml": case.measures.get("volume_ml") if case.measured_spacing_mm else None,
        "area_pixels": int(areas.sum()),
        "n_lesions": case.measures.get("number_of_lesions"),
        "slices_with_tumour": int((areas > 0).sum()),
        "n_slices": len(areas),
    }


def _measured(case: PredictedCase) -> dict[str, list[str]]:
    """Of each measure its value for the whole tumour, then for each of several regions."""
    columns = [case.measures, *case.measures.get("regions", {}).values()]
    table = {}
    for key, (name, digits) in MEASURES.items():
        values = [column.get(key) for column in columns]
        if key.endswith("_ml") or key.endswith("_mm"):
            values = values if case.measured_spacing_mm else [None] * len(values)
        elif key.endswith("_index"):
            values = [None if value is None else value + 1 for value in values]
        if any(key in column for column in columns):
            table[name] = ["unknown" if v is None else str(v) if digits is None else number(v, digits) for v in values]
    return table


def _slices_with_tumour(case: PredictedCase) -> list[dict[str, Any]]:
    areas = np.asarray(case.measures["area_pixels"])
    areas_mm2 = case.measures.get("area_mm2") if case.measured_spacing_mm else None
    return [
        {
            "number": i + 1,
            "area_pixels": int(areas[i]),
            "area_mm2": None if areas_mm2 is None else float(areas_mm2[i]),
            "probability": float(case.highest_probability[i]),
        }
        for i in np.flatnonzero(areas)
    ]


def _intensity_charts(case: PredictedCase) -> list[Chart]:
    """Intensities of the whole case, and of what is marked."""
    low, high = embedded_range(case)
    ticks = np.linspace(low, high, 5).tolist()
    axis = Axis(f"Intensity of {case.shown}, as stored", ticks, amount, logarithmic=False)
    charts = []
    for title, values in (("All pixels", case.images), ("Marked pixels", case.images[case.mask > 0])):
        counts, edges = np.histogram(np.clip(np.nan_to_num(values, nan=low), low, high), BINS, (low, high))
        if values.size:
            shares = counts / values.size
            highest = float(shares[edges[:-1] >= low + AIR * (high - low)].max())
            charts.append(histogram_chart(title, Histogram(edges, shares), axis, "Pixels (%)", percent, highest))
    return charts


def _files(case: PredictedCase) -> list[tuple[str, Path]]:
    seg = [] if case.dicom_seg_path is None else [("DICOM SEG", case.dicom_seg_path)]
    maps = [(MAPS[name][0], path) for name, path in case.map_paths.items()]
    return [("Mask", case.mask_path), *seg, ("Overlay", case.overlay_path), *maps]


def _link(file: Path, folder: Path) -> str:
    """A link that still works when the whole output folder is moved."""
    return quote(os.path.relpath(file, folder).replace(os.sep, "/"), errors="surrogateescape")
