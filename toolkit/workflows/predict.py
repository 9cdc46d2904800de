"""`bts-predict`: scans in; masks, overlays, summary and report out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.intensity import intensity_range
from toolkit.data.sources.scans import Scan, find_scans, read_scan, unique_names
from toolkit.errors import SourceError, ToolkitError
from toolkit.files import write_json
from toolkit.inference.measures import measure
from toolkit.inference.outputs import write_mask
from toolkit.inference.predictor import Predictor
from toolkit.manifest import Manifest, file_checksums
from toolkit.metrics import count, dice
from toolkit.pictures import PANEL_HEIGHT, contact_sheet, overlay, save_png, to_grey
from toolkit.progress import track
from toolkit.report.prediction import PredictedCase, write_prediction_report

LONE_PICTURE_PIXELS = 512
SHEET_SLICES = 16


def predict(inputs: list[Path], model: Path, out: Path) -> dict[str, Any]:
    """Mark the tumour in every scan of `inputs`.

    Writes into `out`: `NAME_mask.*`, `NAME_overlay.png`, summary.json, report.html and manifest.json. A scan
    that can't be read is reported and the others are finished; if none can be read, nothing is written.

    Args:
        inputs: NIfTI, .mat, PNG, TIFF or JPEG files, or folders of them.
        model: see `toolkit.inference.predictor.Predictor`.
        out: folder for the results.

    Returns:
        The content of summary.json.

    Raises:
        SourceError: there is nothing to read, or nothing that can be read.
        ModelError: the model can't be read.
        OutputError: `out` can't be written.
    """
    manifest = Manifest()
    files = find_scans(inputs, skip=out)
    predictor = Predictor(model)
    run = _Run(predictor, out)
    cases = run.cases(list(zip(files, unique_names(files), strict=True)))
    content = manifest.content(model=str(model), synthetic_training=predictor.info.synthetic_data)
    write_prediction_report(out / "report.html", cases, content)
    summary = {
        "model": str(predictor.path),
        "threshold": predictor.info.threshold,
        "trained_on_synthetic_data": predictor.info.synthetic_data,
        "cases": run.done,
        "failed": run.failed,
    }
    write_json(out / "summary.json", summary)
    finished = manifest.content(
        model=file_checksums([predictor.path]),
        inputs=file_checksums(f for f in files if str(f) not in run.failed),
    )
    write_json(out / "manifest.json", finished)
    return summary


class _Run:
    """Predicts one scan after the other, keeping numbers only."""

    def __init__(self, predictor: Predictor, out: Path) -> None:
        self.predictor, self.out = predictor, out
        self.done: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}

    def cases(self, files: list[tuple[Path, str]]) -> Iterator[PredictedCase]:
        for path, name in track(files, "Predicting", len(files)):
            try:
                scan = read_scan(path, self.predictor.info.modalities[0])
                probability = self.predictor.predict(scan.case.images)
            except ToolkitError as error:
                self.failed[str(path)] = str(error)
                continue
            yield self._finish(scan, name, probability)
        if not self.done:
            # Nothing to show: stop here, so that no empty report is left behind.
            raise SourceError(next(iter(self.failed.values())))

    def _finish(self, scan: Scan, name: str, probability: np.ndarray) -> PredictedCase:
        case, mask = scan.case, self.predictor.mask(probability)
        measures = measure(mask, case.spacing_mm)
        predicted = PredictedCase(
            name=name,
            input_path=scan.path,
            plane=case.plane,
            modalities=case.modalities,
            images=case.images[..., 0],
            value_range=tuple(intensity_range(case.images)[0].tolist()),
            probability=probability.max(axis=-1),
            mask=mask,
            spacing_mm=case.spacing_mm,
            spacing_is_placeholder=scan.spacing_is_placeholder,
            measures=measures,
            mask_path=write_mask(scan, mask, self.out, name, probability.shape[-1]),
            overlay_path=self.out / f"{name}_overlay.png",
            truth=case.mask,
            synthetic=case.synthetic,
        )
        save_png(predicted.overlay_path, overlay_picture(predicted))
        self.done[name] = {
            "input": str(scan.path),
            "mask": predicted.mask_path.name,
            "overlay": predicted.overlay_path.name,
            "shape": list(mask.shape),
            "spacing_mm": case.spacing_mm or "unknown",
            "spacing_is_placeholder": scan.spacing_is_placeholder,
            **measures,
        }
        if case.mask is not None:
            self.done[name]["dice_with_mask_in_file"] = dice(count(case.mask > 0, mask > 0))
        return predicted


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
