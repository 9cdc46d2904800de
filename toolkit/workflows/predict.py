"""`bts-predict`: scans in; masks, overlays, summary and report out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.case import Case
from toolkit.data.intensity import intensity_range
from toolkit.data.sources.scan_files import ScanFiles, find_scans, unique_names
from toolkit.data.sources.scans import Scan, read_scan
from toolkit.errors import OutputError, ServerError, SourceError, ToolkitError
from toolkit.files import write_json
from toolkit.inference.measures import measure
from toolkit.inference.outputs import write_mask
from toolkit.inference.predictor import Predictor, Settings, find_model, is_url
from toolkit.inference.side import head_middle
from toolkit.inference.unfinished import Answer, Unfinished
from toolkit.manifest import Manifest, file_checksums
from toolkit.metrics import count, dice
from toolkit.models.model_file import read_info
from toolkit.pictures import PANEL_HEIGHT, contact_sheet, overlay, save_png, to_grey
from toolkit.progress import track
from toolkit.report.predicted_case import PredictedCase
from toolkit.report.prediction import write_prediction_report

LONE_PICTURE_PIXELS = 512
SHEET_SLICES = 16
SHOWN_FIRST = ("t1c", "t2f")


def predict(
    inputs: list[Path],
    model: Path | str,
    out: Path,
    spacing_mm: tuple[float, float, float] | None = None,
    post_processing: bool = True,
) -> dict[str, Any]:
    """Mark the tumour in every scan of `inputs`.

    Writes into `out`: `NAME_mask.*`, `NAME_overlay.png`, summary.json, report.html and manifest.json. A scan
    that can't be read is reported and the others are finished; if none can be read, nothing is written. A run that
    is broken off (Ctrl-C, a server that no longer answers) is gone on with by calling it again.

    Args:
        inputs: DICOM, NIfTI, MetaImage, .mat, PNG, TIFF or JPEG files, or folders of them.
        model: see `toolkit.inference.predictor.Predictor`.
        out: folder for the results.
        spacing_mm: `(slice, row, column)` distances of scans whose files state none, or a placeholder.
        post_processing: whether masks are post-processed as the model file says.

    Returns:
        The content of summary.json.

    Raises:
        SourceError: there is nothing to read, or nothing that can be read.
        ModelError: the model can't be read.
        ServerError: the server does not answer, or no longer.
        OutputError: `out` can't be written.
    """
    manifest, settings = Manifest(), Settings(post_processing=post_processing)
    # What is cheap first: errors about inputs need not wait for TensorFlow.
    predictor = Predictor(model, settings) if is_url(model) else None
    info = predictor.info if predictor else read_info(find_model(Path(model)))
    data = info.recipe.data
    scans = find_scans(inputs, info.modalities, data.allow_missing, data.layout, skip=out)
    predictor = predictor or Predictor(model, settings)
    run = _Run(predictor, out, spacing_mm)
    cases = run.cases(list(zip(scans, unique_names(scans), strict=True)))
    content = manifest.content(model=run.model_checksums or predictor.name, synthetic_training=info.synthetic_data)
    write_prediction_report(out / "report.html", _begun(cases), content, several=len(scans) > 1)
    summary = {
        "model": predictor.name,
        "threshold": info.threshold,
        "post_processing": predictor.info.post_processing.model_dump(),
        "trained_on_synthetic_data": info.synthetic_data,
        "cases": run.done,
        "failed": run.failed,
    }
    write_json(out / "summary.json", summary)
    finished = manifest.content(
        model=run.model_checksums,
        inputs=run.input_checksums,
    )
    write_json(out / "manifest.json", finished)
    run.unfinished.clear()
    return summary


def _begun(cases: Iterator[PredictedCase]) -> Iterator[PredictedCase]:
    """The same cases, the first read now: if none can be, the report is not begun and its folder not made.

    It is handed on, not kept: of cases there is one in memory.
    """
    held = [next(cases)]

    def all_of_them() -> Iterator[PredictedCase]:
        yield held.pop()
        yield from cases

    return all_of_them()


class _Run:
    """Predicts one scan after the other, keeping numbers only."""

    def __init__(self, predictor: Predictor, out: Path, spacing_mm: tuple[float, float, float] | None) -> None:
        self.predictor, self.out, self.spacing_mm = predictor, out, spacing_mm
        self.model_checksums = file_checksums(predictor.files)
        self.unfinished = Unfinished(out, predictor.info, f"{self.model_checksums or predictor.name} {spacing_mm}")
        self.input_checksums: dict[str, str] = {}
        self.done: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}

    def cases(self, scans: list[tuple[ScanFiles, str]]) -> Iterator[PredictedCase]:
        for files, name in track(scans, "Predicting", len(scans)):
            try:
                scan = read_scan(files, self.predictor.info.modalities, self.spacing_mm)
                answer = self._answer(files, scan.case)
            except ServerError as error:
                done = f"{len(self.done)} of {len(scans)} scans are done"
                raise ServerError(f"{error}; {done}, and the same command goes on with the rest") from error
            except OutputError:
                raise
            except ToolkitError as error:
                self.failed[files.title] = str(error)
                continue
            yield self._finish(scan, name, answer)
        if not self.done:
            raise SourceError(next(iter(self.failed.values())))

    def _answer(self, files: ScanFiles, case: Case) -> Answer:
        """What the model says, or has said in a run that was broken off."""
        checksums = file_checksums(files.all_files)
        answer = self.unfinished.find(checksums)
        if answer is None:
            probability = self.predictor.predict(case.images, spacing_mm=case.spacing_mm)
            highest = self.predictor.tumour(probability).max(axis=(1, 2))
            answer = Answer(self.predictor.mask(probability, case.spacing_mm), highest)
            self.unfinished.keep(checksums, answer)
        self.input_checksums |= checksums
        return answer

    def _finish(self, scan: Scan, name: str, answer: Answer) -> PredictedCase:
        case, mask, info = scan.case, answer.mask, self.predictor.info
        shown = _shown(case)
        low, high = intensity_range(case.images[..., shown : shown + 1])[0].tolist()
        middle = head_middle(case.images[..., shown], (low, high), scan.patient_affine)
        measures = measure(mask, case.spacing_mm, info.recipe.model, middle)
        written = write_mask(scan, mask, self.out, name, info.mask_labels)
        predicted = PredictedCase(
            name=name,
            input_path=scan.path,
            plane=case.plane,
            modalities=case.modalities,
            shown=case.modalities[shown],
            images=case.images[..., shown],
            value_range=(low, high),
            highest_probability=answer.highest_probability,
            mask=mask,
            spacing_mm=case.spacing_mm,
            spacing_is_placeholder=scan.spacing_is_placeholder,
            measures=measures,
            mask_path=written.path,
            dicom_seg_path=written.dicom_seg,
            overlay_path=self.out / f"{name}_overlay.png",
            labels=info.mask_labels,
            truth=case.mask,
            synthetic=case.synthetic,
        )
        save_png(predicted.overlay_path, overlay_picture(predicted))
        self.done[name] = {
            "input": str(scan.path),
            "mask": written.path.name,
            "dicom_seg": written.dicom_seg.name if written.dicom_seg else None,
            "dicom_seg_problem": written.problem,
            "labels": info.mask_labels,
            "missing_modalities": [m for m, there in zip(case.modalities, case.present, strict=True) if not there],
            "overlay": predicted.overlay_path.name,
            "shape": list(mask.shape),
            "spacing_mm": case.spacing_mm or "unknown",
            "spacing_is_placeholder": scan.spacing_is_placeholder,
            **measures,
        }
        if case.mask is not None:
            self.done[name]["dice_with_mask_in_file"] = dice(count(case.mask > 0, mask > 0))
        return predicted


def _shown(case: Case) -> int:
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
