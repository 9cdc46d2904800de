"""One scan of a prediction, from its files to mask, overlay and page: all that a process needs to do it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.case_pictures import map_picture
from toolkit.data.case import Case
from toolkit.data.intensity import intensity_range
from toolkit.data.sources.scan_files import ScanFiles
from toolkit.data.sources.scans import Scan, read_scan
from toolkit.errors import OutputError, ServerError, ToolkitError
from toolkit.inference.answer import Answer
from toolkit.inference.examination import examine
from toolkit.inference.map_files import write_map
from toolkit.inference.measures import measure
from toolkit.inference.outputs import WrittenMask, write_mask
from toolkit.inference.predictor import Predictor
from toolkit.inference.side import head_middle
from toolkit.inference.unfinished import Unfinished
from toolkit.manifest import file_checksums
from toolkit.metrics import count, dice
from toolkit.pictures import save_png
from toolkit.report.overlay_picture import overlay_picture, shown_modality
from toolkit.report.predicted_case import MAPS, PredictedCase
from toolkit.report.prediction import case_page, index_row, write_case

REPORT = "report.html"
# Scores are read, not calculated with; beyond these decimals they depend on the number of threads.
DECIMALS = 4


@dataclass(frozen=True)
class CaseSettings:
    """What holds for every case of a run.

    Args:
        out: folder for the results.
        run: tells runs apart whose answers may differ, see `Unfinished`.
        spacing_mm: of scans whose files state none, or a placeholder.
        manifest: shown on every page.
        explain: whether maps that explain the mask are wanted.
        map_files: names of maps (`toolkit.report.predicted_case.MAPS`) that are also written as files.
        thumbnail_pixels: longest side of the picture in the index; None: there is no index, the page of the case is
            the report.
    """

    out: Path
    run: str
    spacing_mm: tuple[float, float, float] | None
    manifest: Mapping[str, Any]
    explain: bool
    map_files: tuple[str, ...]
    thumbnail_pixels: int | None


class CaseTask(NamedTuple):
    """A scan to do.

    Args:
        files: what it is read from.
        name: of its outputs, unique in the run.
    """

    files: ScanFiles
    name: str


@dataclass(frozen=True)
class CaseRow:
    """What is kept of a case: numbers and a thumbnail, no pixels.

    Args:
        name: of its outputs.
        title: what a user calls the scan.
        problem: why it can't be predicted; then there is nothing below.
        summary: of summary.json.
        index: row of the report's index; None without one.
        checksums: of its files, by path.
    """

    name: str
    title: str
    problem: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    index: dict[str, Any] | None = None
    checksums: dict[str, str] = field(default_factory=dict)


class CasePredictor:
    """Does one scan after the other, keeping none.

    Args:
        predictor: the model.
        settings: of the run.
    """

    def __init__(self, predictor: Predictor, settings: CaseSettings) -> None:
        self._predictor, self._settings = predictor, settings
        self._unfinished = Unfinished(settings.out, predictor.info, settings.run)

    def __call__(self, task: CaseTask) -> CaseRow:
        """Read a scan, ask the model unless it has answered before, and write mask, overlay and page.

        Raises:
            ServerError: the server does not answer.
            OutputError: something can't be written.
        """
        files, name = task
        try:
            scan = read_scan(files, self._predictor.info.modalities, self._settings.spacing_mm)
            checksums = file_checksums(files.all_files)
            limits = intensity_range(scan.case.images)
            answer = self._answer(checksums, scan.case, limits)
        except (ServerError, OutputError):
            raise
        except ToolkitError as error:
            return CaseRow(name, files.title, str(error))
        info, settings = self._predictor.info, self._settings
        written = write_mask(scan, answer.mask, settings.out, name, info.mask_labels)
        predicted = self._predicted(scan, name, answer, written, limits)
        save_png(predicted.overlay_path, overlay_picture(predicted))
        predicted = replace(predicted, map_paths=self._write_maps(scan, predicted))
        summary = _summary(scan, answer, predicted, written)
        return CaseRow(name, files.title, None, summary, self._report(predicted), checksums)

    def _answer(self, checksums: dict[str, str], case: Case, limits: np.ndarray) -> Answer:
        """What the model says, or has said in a run that was broken off."""
        answer = self._unfinished.find(checksums)
        if answer is None:
            answer = examine(self._predictor, case, shown_modality(case), self._settings.explain, limits)
            self._unfinished.keep(checksums, answer)
        return answer

    def _predicted(
        self, scan: Scan, name: str, answer: Answer, written: WrittenMask, limits: np.ndarray
    ) -> PredictedCase:
        case, info, shown = scan.case, self._predictor.info, shown_modality(scan.case)
        low, high = limits[shown].tolist()
        middle = head_middle(case.images[..., shown], (low, high), scan.patient_affine)
        return PredictedCase(
            name=name,
            input_path=scan.path,
            plane=case.plane,
            modalities=case.modalities,
            shown=case.modalities[shown],
            images=case.images[..., shown],
            value_range=(low, high),
            highest_probability=answer.highest_probability,
            mask=answer.mask,
            spacing_mm=case.spacing_mm,
            spacing_is_placeholder=scan.spacing_is_placeholder,
            measures=measure(answer.mask, case.spacing_mm, info.recipe.model, middle),
            mask_path=written.path,
            dicom_seg_path=written.dicom_seg,
            overlay_path=self._settings.out / f"{name}_overlay.png",
            labels=info.mask_labels,
            truth=case.mask,
            maps={name: values for name in MAPS if (values := getattr(answer, name)) is not None},
            enhanced=answer.enhanced,
            uncertainty_score=answer.review_score,
            unlikeness=self._unlikeness(case, limits),
            synthetic=case.synthetic,
        )

    def _unlikeness(self, case: Case, limits: np.ndarray) -> float | None:
        """Rounded before anybody compares it with 1, so that all say the same."""
        familiarity = self._predictor.info.familiarity
        return round(familiarity.unlikeness(case.images, limits, case.present), 2) if familiarity else None

    def _write_maps(self, scan: Scan, case: PredictedCase) -> dict[str, Path]:
        """Maps that were asked for as files, each with its picture over the scan; the paths of the former."""
        written = {}
        for kind in self._settings.map_files:
            values = case.maps.get(kind)
            if values is not None:
                written[kind] = write_map(scan, values, self._settings.out, case.name, kind)
                picture = map_picture(case.images, case.value_range, values, case.mask, case.synthetic)
                save_png(self._settings.out / f"{case.name}_{kind}_overlay.png", picture)
        return written

    def _report(self, case: PredictedCase) -> dict[str, Any] | None:
        """The page of a case, and its row of the index."""
        report, thumbnail_pixels = self._settings.out / REPORT, self._settings.thumbnail_pixels
        if thumbnail_pixels is None:
            write_case(report, case, self._settings.manifest)
            return None
        write_case(case_page(report, case.name), case, self._settings.manifest, index=report)
        return index_row(report, case, thumbnail_pixels)


def _summary(scan: Scan, answer: Answer, predicted: PredictedCase, written: WrittenMask) -> dict[str, Any]:
    """What summary.json says of a case."""
    case = scan.case
    summary = {
        "input": str(scan.path),
        "mask": written.path.name,
        "dicom_seg": written.dicom_seg.name if written.dicom_seg else None,
        "dicom_seg_problem": written.problem,
        "labels": dict(predicted.labels),
        "missing_modalities": [m for m, there in zip(case.modalities, case.present, strict=True) if not there],
        "overlay": predicted.overlay_path.name,
        "shape": list(answer.mask.shape),
        "spacing_mm": case.spacing_mm or "unknown",
        "spacing_is_placeholder": scan.spacing_is_placeholder,
        "review_score": round(answer.review_score, DECIMALS),
        "unlikeness": predicted.unlikeness,
        "highest_probability": round(float(answer.highest_probability.max()), DECIMALS),
        **predicted.measures,
    }
    if case.mask is not None:
        summary["dice_with_mask_in_file"] = dice(count(case.mask > 0, answer.mask > 0))
    return summary
