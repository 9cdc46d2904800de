"""`bts-enhance`: scans in; enhanced scans, pictures of the difference and a summary out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toolkit.data.intensity import intensity_range
from toolkit.data.missing_slices import fill_missing as fill
from toolkit.data.missing_slices import find_missing
from toolkit.data.sources.scan_files import ScanFiles, find_scans, unique_names
from toolkit.data.sources.scans import Scan, read_scan
from toolkit.errors import SourceError, ToolkitError, UsageError
from toolkit.files import write_json
from toolkit.inference.enhanced_outputs import SUMMARY, WrittenScan, write_enhanced
from toolkit.inference.slice_enhancer import SliceEnhancer, double_in_plane, find_enhancer
from toolkit.manifest import Manifest, file_checksums
from toolkit.pictures import panel, save_png, to_grey
from toolkit.progress import track

KINDS_WITH_GAPS = ("nifti", "dicom")
CORRECTION_ZOOM = 4
PANEL_PIXELS = 384
LEGEND_WIDTH = 84
_FONT = cv2.FONT_HERSHEY_DUPLEX


def enhance(
    inputs: list[Path],
    model: Path,
    out: Path,
    fill_missing: bool = False,
    upsample: int = 1,
    spacing_mm: tuple[float, float, float] | None = None,
) -> dict[str, Any]:
    """Run the enhancer of a model over every scan of `inputs`.

    Writes into `out`: `NAME_enhanced.*`, `NAME_comparison.png`, summary.json and manifest.json. A scan that
    can't be read or written is reported and the others are finished; if none can be read, nothing is written.

    Args:
        inputs: DICOM, NIfTI, MetaImage, .mat, PNG, TIFF or JPEG files, or folders of them.
        model: see `toolkit.inference.slice_enhancer.SliceEnhancer`.
        out: folder for the results.
        fill_missing: fill empty slices between others in volumes, and slices that a DICOM series lacks, before the
            network sees them.
        upsample: 1, or 2 for twice the resolution in plane.
        spacing_mm: `(slice, row, column)` distances of scans whose files state none, or a placeholder.

    Returns:
        The content of summary.json.

    Raises:
        SourceError: there is nothing to read, or nothing that can be read.
        ModelError: the model can't be read, or has no enhancer.
        OutputError: `out` can't be written.
        UsageError: a result would take the place of an input.
    """
    manifest = Manifest()
    # What is cheap first: errors about inputs need not wait for TensorFlow.
    _, info = find_enhancer(model)
    data = info.recipe.data
    scans = find_scans(inputs, info.modalities, data.allow_missing, data.layout, skip=out, fill_gaps=fill_missing)
    names = unique_names(scans)
    _keep_inputs(scans, names, out)
    run = _Run(SliceEnhancer(model), model.resolve().name, out, fill_missing, upsample, spacing_mm)
    for files, name in track(list(zip(scans, names, strict=True)), "Enhancing", len(scans)):
        run.add(files, name)
    if not run.done:
        raise SourceError(next(iter(run.failed.values())))
    summary = {
        "model": str(run.enhancer.path),
        "trained_on_synthetic_data": info.synthetic_data,
        "upsample": upsample,
        "cases": run.done,
        "failed": run.failed,
    }
    write_json(out / SUMMARY, summary)
    content = manifest.content(
        model=file_checksums([run.enhancer.path]),
        inputs=file_checksums(file for files in run.read for file in files.all_files),
        synthetic_training=info.synthetic_data,
    )
    write_json(out / "manifest.json", content)
    return summary


def _keep_inputs(scans: Sequence[ScanFiles], names: Sequence[str], out: Path) -> None:
    """Refuse to write where an input lies."""
    folder = out.resolve()
    written = tuple(f"{name}_{what}".casefold() for name in names for what in ("enhanced", "comparison"))
    for file in (file for scan in scans for file in scan.all_files):
        path = file.resolve()
        if path.is_relative_to(folder) and path.relative_to(folder).parts[0].casefold().startswith(written):
            raise UsageError(f"{file}: a result might take its place; choose another --out")


class _Run:
    """Enhances one scan after the other, keeping numbers only."""

    def __init__(
        self,
        enhancer: SliceEnhancer,
        model: str,
        out: Path,
        fill_missing: bool,
        upsample: int,
        spacing_mm: tuple[float, float, float] | None,
    ) -> None:
        self.enhancer, self.model, self.out = enhancer, model, out
        self.fill_missing, self.upsample, self.spacing_mm = fill_missing, upsample, spacing_mm
        self.read: list[ScanFiles] = []
        self.done: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}

    def add(self, files: ScanFiles, name: str) -> None:
        try:
            scan = read_scan(files, self.enhancer.info.modalities, self.spacing_mm)
            before, missing = self._prepared(scan)
            limits = intensity_range(before)
            before = double_in_plane(before) if self.upsample == 2 else before
            after = self.enhancer.enhance(before, limits, scan.case.images.dtype)
            written = write_enhanced(files, scan, after, self.out, name, self.model)
            save_png(self.out / f"{name}_comparison.png", comparison(before, after, limits, scan.case.synthetic))
        except ToolkitError as error:
            self.failed[files.title] = str(error)
            return
        self.read.append(files)
        picture = f"{name}_comparison.png"
        self.done[name] = {
            **_entry(scan, before, after, limits, written, picture),
            "filled_slices": _numbers(missing),
            # In the series' own order, which is not that of the slices where these were cut in another plane.
            "filled_series_slices": {m: _numbers(series.missing) for m, series in files.series.items()},
        }

    def _prepared(self, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
        """The slices, the missing ones filled where that was asked for, and which those were."""
        images = scan.case.images
        if not self.fill_missing or scan.kind not in KINDS_WITH_GAPS:
            return images, np.zeros(len(images), bool)
        missing = find_missing(images)
        return (fill(images, missing) if missing.any() else images), missing


def _numbers(missing: np.ndarray) -> list[int]:
    """Counted from 1."""
    return (np.flatnonzero(missing) + 1).tolist()


def _entry(
    scan: Scan,
    before: np.ndarray,
    after: np.ndarray,
    limits: np.ndarray,
    written: WrittenScan,
    picture: str,
) -> dict[str, Any]:
    case = scan.case
    # Slice by slice: of a large volume there is no room for another copy.
    changes = [np.abs(new.astype(np.float64) - old).mean(axis=(0, 1)) for old, new in zip(before, after, strict=True)]
    # Of the range, so that it can be compared between scans.
    correction = np.mean(changes, axis=0) / (limits[:, 1] - limits[:, 0])
    there = dict(zip(case.modalities, case.present, strict=True))
    return {
        "input": str(scan.path),
        "enhanced": [path.name for path in written.paths],
        "problem": written.problem,
        "comparison": picture,
        "shape": list(after.shape[:3]),
        "missing_modalities": [m for m in there if not there[m]],
        "mean_absolute_correction": {m: float(c) for m, c in zip(there, correction, strict=True) if there[m]},
    }


def comparison(before: np.ndarray, after: np.ndarray, limits: np.ndarray, synthetic: bool = False) -> np.ndarray:
    """The middle slice before and after, and four times what was changed, red for brighter and blue for darker.

    Args:
        before: `(slices, height, width, modalities)`; the first modality that is not blank is shown.
        after: the same shape.
        limits: `(modalities, 2)`, the range of the case.
        synthetic: write "SYNTHETIC" onto the pictures.

    Returns:
        `(height, width, 3)` uint8.
    """
    middle = len(before) // 2
    channel = next((c for c in range(before.shape[3]) if np.ptp(before[middle, ..., c])), 0)
    low, high = (float(value) for value in limits[channel])
    old, new = (images[middle, ..., channel].astype(np.float64) for images in (before, after))
    change = CORRECTION_ZOOM * (new - old) / (high - low)
    columns = [
        (f"before, slice {middle + 1}", to_grey(old, low, high)),
        ("after", to_grey(new, low, high)),
        (f"correction x {CORRECTION_ZOOM}", _diverging(change)),
    ]
    picture = panel(columns, PANEL_PIXELS, synthetic)
    return np.concatenate([picture, _legend(picture.shape[0])], axis=1)


def _diverging(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as colours: blue, white at 0, red; `(height, width, 3)` uint8."""
    values = np.clip(values, -1.0, 1.0)[..., None]
    blue, red = np.array([33, 102, 172]), np.array([178, 24, 43])
    colours = 255 + np.maximum(values, 0) * (red - 255) + np.maximum(-values, 0) * (blue - 255)
    return np.rint(colours).astype(np.uint8)


def _legend(height: int) -> np.ndarray:
    """A bar of the colours, with what they mean as a share of the scan's range."""
    legend = np.full((height, LEGEND_WIDTH, 3), 24, np.uint8)
    top, bottom = height // 5, height - height // 5
    legend[top:bottom, 8:22] = _diverging(np.linspace(1, -1, bottom - top)[:, None]).repeat(14, axis=1)
    largest = 100 // CORRECTION_ZOOM
    for row, text in ((top + 8, f"+{largest} %"), ((top + bottom) // 2 + 4, "0"), (bottom, f"-{largest} %")):
        cv2.putText(legend, text, (28, row), _FONT, 0.4, (235,) * 3, 1, cv2.LINE_AA)
    return legend
