"""Evaluation of a model's masks: per picture, pooled, per patient and per lesion.

Cases are taken one at a time; what is kept of a case is numbers, never a mask.
"Patient" means patient group throughout, as in the splits: patients who may be
one person count as one.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import StoreError, ToolkitError
from toolkit.evaluation.lesions import MATCHING_RULE, Lesion, find_lesions, summarise
from toolkit.evaluation.statistics import RESAMPLES, bootstrap_interval
from toolkit.files import write_csv, write_json
from toolkit.metrics import (
    DEFAULT_RULE,
    DEFAULT_TOLERANCE,
    METRICS,
    SURFACE_METRICS,
    Counts,
    EmptyMaskRule,
    count,
    metrics_from_counts,
    metrics_from_distances,
    surface_distances,
)

POOLED_NOTE = "hd95 and nsd are not defined for pooled pixels: distances exist within a picture only"
# From here on nnU-Net, too, takes a volume for a stack of pictures (its ANISO_THRESHOLD).
MAX_ANISOTROPY = 3.0
TEXT_COLUMNS = ("case", "patient", "patient_group", "tumour_type", "plane", "label", "slice")


@dataclass(frozen=True)
class CaseResult:
    """The true and the predicted mask of one class in one case.

    Args:
        case: identifier of the case.
        patient: identifier as the source gives it.
        truth: `(slices, height, width)` bool.
        prediction: `(slices, height, width)` bool.
        patient_group: patients that may be one person; defaults to `patient`.
        tumour_type: class name where the source knows it.
        plane: of the slices.
        slice_names: name of each slice; defaults to its index.
        spacing_mm: `(slice, row, column)` distances in mm, or None if unknown.
        synthetic: True for made-up images.
        label: name of the class; a case with several classes gives a result for each.
        review_scores: of each slice, for the tumour as a whole; a column of per_image.csv where given.
    """

    case: str
    patient: str
    truth: np.ndarray
    prediction: np.ndarray
    patient_group: str = ""
    tumour_type: str | None = None
    plane: str = "unknown"
    slice_names: tuple[str, ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    synthetic: bool = False
    label: str = "tumour"
    review_scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.truth.ndim != 3 or self.truth.shape != self.prediction.shape:
            raise ValueError(
                f"case {self.case}: truth {self.truth.shape} and prediction {self.prediction.shape} "
                "must both be (slices, height, width)"
            )
        if not self.patient_group:
            object.__setattr__(self, "patient_group", self.patient)
        if not self.slice_names:
            object.__setattr__(self, "slice_names", tuple(str(i) for i in range(len(self.truth))))
        if len(self.slice_names) != len(self.truth):
            raise ValueError(f"case {self.case}: {len(self.slice_names)} names, {len(self.truth)} slices")

    @property
    def is_volume(self) -> bool:
        """Whether surfaces are taken in 3-D: several slices at known spacing, and not too thick.

        In thick slices the flat faces have far more pixels than the outlines, and
        would decide hd95 and nsd alone.
        """
        if len(self.truth) < 2 or self.spacing_mm is None:
            return False
        return self.spacing_mm[0] <= MAX_ANISOTROPY * max(self.spacing_mm[1:])


@dataclass
class _Patient:
    """What is kept of one patient and label: summed counts, and hd95 and nsd of each volume or picture."""

    tumour_type: str | None
    n_images: int = 0
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))
    distances: list[dict[str, float]] = field(default_factory=list)


@dataclass
class _Tables:
    """What is kept of all cases so far."""

    rule: EmptyMaskRule
    tolerance: float
    images: list[dict[str, Any]] = field(default_factory=list)
    lesion_rows: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[Lesion] = field(default_factory=list)
    patients: dict[tuple[str, str], _Patient] = field(default_factory=dict)
    n_cases: int = 0
    units: set[str] = field(default_factory=set)
    patient_distances: set[str] = field(default_factory=set)
    synthetic: bool = False

    def add(self, result: CaseResult) -> None:
        self.n_cases += 1
        self.units.add("pixel" if result.spacing_mm is None else "mm")
        self.patient_distances.add("volume" if result.is_volume else "mean of pictures")
        self.synthetic = self.synthetic or result.synthetic
        self._add_pictures(result)
        self._add_lesions(result)

    def _add_pictures(self, result: CaseResult) -> None:
        patient = self.patients.setdefault((result.patient_group, result.label), _Patient(result.tumour_type))
        in_plane = None if result.spacing_mm is None else result.spacing_mm[1:]
        for i in range(len(result.truth)):
            truth, prediction = result.truth[i], result.prediction[i]
            counts = count(truth, prediction)
            distances = self._distances(truth, prediction, in_plane)
            values = metrics_from_counts(counts, self.rule) | distances
            check_dice_and_jaccard(values["dice"], values["jaccard"], f"{result.case}, {result.slice_names[i]}")
            picture = {"slice": result.slice_names[i], "slice_index": i, "label": result.label}
            score = {"review_score": result.review_scores[i]} if result.review_scores else {}
            self.images.append(_identity(result) | picture | _sizes(counts) | values | score)
            patient.n_images += 1
            patient.counts += counts
            if not result.is_volume:
                patient.distances.append(distances)
        if result.is_volume:
            patient.distances.append(self._distances(result.truth, result.prediction, result.spacing_mm))

    def _add_lesions(self, result: CaseResult) -> None:
        pixel_mm3 = None if result.spacing_mm is None else math.prod(result.spacing_mm)
        lesions = find_lesions(result.truth, result.prediction)
        self.lesions.extend(lesions)
        for number, lesion in enumerate(lesions, start=1):
            volume = None if pixel_mm3 is None else lesion.truth_pixels * pixel_mm3
            predicted = None if pixel_mm3 is None else lesion.predicted_pixels * pixel_mm3
            row = {"label": result.label, "lesion": number} | asdict(lesion)
            row |= {"truth_mm3": volume, "predicted_mm3": predicted}
            self.lesion_rows.append(_identity(result) | row)

    def _distances(
        self, truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float] | None
    ) -> dict[str, float]:
        return metrics_from_distances(surface_distances(truth, prediction, spacing), self.rule, self.tolerance)

    def patient_rows(self) -> list[dict[str, Any]]:
        """A row a patient and label: overlap from the patient's summed counts, mean hd95 and nsd."""
        rows = []
        for (group, label), patient in self.patients.items():
            row: dict[str, Any] = {"patient_group": group, "tumour_type": patient.tumour_type, "label": label}
            row |= {"n_images": patient.n_images} | _sizes(patient.counts)
            row |= metrics_from_counts(patient.counts, self.rule)
            row |= {metric.short_name: _mean(patient.distances, metric.short_name) for metric in SURFACE_METRICS}
            rows.append(row)
        return rows


def evaluate_cases(
    results: Iterable[CaseResult],
    out_dir: Path | str,
    *,
    nsd_tolerance: float = DEFAULT_TOLERANCE,
    rule: EmptyMaskRule = DEFAULT_RULE,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate cases and write metrics.json, per_image.csv, per_patient.csv and per_lesion.csv.

    Three averages, which answer three questions: `per_image_mean` gives each
    picture one vote; `pooled` adds up the pixels of all pictures, so large
    tumours decide; `per_patient_mean` adds up the pixels of each patient first
    (of a scanned volume this is its 3-D Dice), then gives each patient one vote.
    A patient's hd95 and nsd are measured in 3-D where a case is a volume
    (`CaseResult.is_volume`), else they are the mean over the pictures;
    `patient_distance` says which. With several labels, a picture or patient has a
    row for each label, and means are over rows.

    Args:
        results: taken one at a time; memory does not grow with masks.
        out_dir: folder of the files; made if it does not exist.
        nsd_tolerance: in mm where a case's spacing is known, else in pixels.
        rule: for empty masks.
        seed: of the bootstrap.

    Returns:
        The content of metrics.json; None where a number is not defined.

    Raises:
        StoreError: there is no case.
        OutputError: a file can't be written.
        ToolkitError: Jaccard does not follow from Dice.
    """
    tables = _Tables(rule, nsd_tolerance)
    for result in results:
        tables.add(result)
    if not tables.images:
        raise StoreError("no case to evaluate: choose a split that holds cases with masks")
    patients = tables.patient_rows()
    metrics = _summary(tables, patients, seed)
    out = Path(out_dir)
    write_csv(out / "per_image.csv", tables.images)
    write_csv(out / "per_patient.csv", patients)
    write_csv(out / "per_lesion.csv", tables.lesion_rows)
    write_json(out / "metrics.json", metrics)
    return metrics


def check_dice_and_jaccard(dice: float, jaccard: float, where: str) -> None:
    """Make sure that Jaccard J and Dice D of one picture fit: J = D / (2 - D), so J <= D.

    Raises:
        ToolkitError: they do not, so one of them is not the foreground's.
    """
    if math.isnan(dice) and math.isnan(jaccard):
        return
    if not (jaccard <= dice and math.isclose(jaccard, dice / (2 - dice), abs_tol=1e-9)):
        raise ToolkitError(
            f"{where}: Jaccard {jaccard:.4f} does not follow from Dice {dice:.4f}; "
            "do not use these results, and report this as a bug"
        )


def read_per_image(path: Path | str) -> list[dict[str, Any]]:
    """Read per_image.csv: names as str, numbers as int or float, an empty cell as None."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [{key: _parse(key, cell) for key, cell in row.items()} for row in csv.DictReader(file)]


def representative_images(
    rows: Sequence[Mapping[str, Any]], percentiles: Sequence[float] = (95, 50, 5)
) -> list[Mapping[str, Any]]:
    """The rows whose Dice is nearest to the given percentiles, so that nobody chooses a figure by hand.

    Only pictures that show a tumour are looked at: one without shows nothing.
    Equally near rows are settled by case, then slice, then label.

    Args:
        rows: of per_image.csv.
        percentiles: of the Dice of these rows, 0 to 100.

    Returns:
        A row for each percentile, in their order; none if no picture shows a tumour.
    """
    shown = [row for row in rows if row["truth_pixels"] > 0]
    if not shown:
        return []
    shown.sort(key=lambda row: (row["case"], row["slice_index"], row["label"]))
    dice = np.array([row["dice"] for row in shown], np.float64)
    return [shown[int(np.argmin(np.abs(dice - value)))] for value in np.percentile(dice, percentiles)]


def _summary(tables: _Tables, patients: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    images = tables.images
    pooled: dict[str, float | None] = dict.fromkeys(METRICS)
    total = sum((patient.counts for patient in tables.patients.values()), start=Counts(0, 0, 0, 0))
    pooled |= metrics_from_counts(total, tables.rule)
    pictures = {(row["case"], row["slice_index"]) for row in images}
    with_truth = {(row["case"], row["slice_index"]) for row in images if row["truth_pixels"]}
    return {
        "per_image_mean": {name: _mean(images, name) for name in METRICS},
        "pooled": pooled,
        "pooled_note": POOLED_NOTE,
        "per_patient_mean": {name: _mean(patients, name) for name in METRICS},
        "lesion_wise": asdict(summarise(tables.lesions, tables.n_cases)) | {"matching_rule": MATCHING_RULE},
        "confidence_95": {name: _interval(images, name, seed) for name in METRICS},
        "confidence_note": f"of per_image_mean; {RESAMPLES} bootstrap resamples of patients, seed {seed}",
        "per_tumour_type": _by(images, "tumour_type"),
        "per_label": _by(images, "label"),
        "n_images": len(pictures),
        "n_patients": len({row["patient_group"] for row in patients}),
        "n_cases": len({row["case"] for row in images}),
        "n_empty": len(pictures - with_truth),
        "empty_mask_rule": tables.rule.value,
        "distance_unit": tables.units.pop() if len(tables.units) == 1 else "mixed",
        "patient_distance": tables.patient_distances.pop() if len(tables.patient_distances) == 1 else "mixed",
        "nsd_tolerance": tables.tolerance,
        "foreground_only": True,
        "synthetic": tables.synthetic,
    }


def _identity(result: CaseResult) -> dict[str, Any]:
    return {
        "case": result.case,
        "patient": result.patient,
        "patient_group": result.patient_group,
        "tumour_type": result.tumour_type,
        "plane": result.plane,
    }


def _sizes(counts: Counts) -> dict[str, int]:
    sizes = {"truth_pixels": counts.tp + counts.fn, "predicted_pixels": counts.tp + counts.fp}
    return sizes | asdict(counts)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Mean of a column over the rows where it is defined; None if it is nowhere."""
    values = [row[name] for row in rows if row[name] is not None and not math.isnan(row[name])]
    return math.fsum(values) / len(values) if values else None


def _interval(rows: Sequence[Mapping[str, Any]], name: str, seed: int) -> list[float] | None:
    low, high = bootstrap_interval([row[name] for row in rows], [row["patient_group"] for row in rows], seed)
    return None if math.isnan(low) else [low, high]


def _by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """Mean Dice of the pictures, and how many pictures and patients, for each value of `key`."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row[key] is not None:
            groups.setdefault(row[key], []).append(row)
    return {
        value: {
            "dice": _mean(members, "dice"),
            "n_images": len(members),
            "n_patients": len({row["patient_group"] for row in members}),
        }
        for value, members in sorted(groups.items())
    }


def _parse(column: str, cell: str) -> Any:
    if not cell:
        return None
    if column in TEXT_COLUMNS:
        return cell
    number = float(cell)
    return int(number) if number.is_integer() and "." not in cell else number
