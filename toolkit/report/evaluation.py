"""The report of an evaluation: metrics with intervals, their spread, the worst and the typical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import pictures
from toolkit.report.page import data_uri, write_page

LEVELS = {
    "per_image_mean": "Mean per image",
    "pooled": "All pixels pooled",
    "per_patient_mean": "Mean per patient",
}
METRICS = {
    "dice": ("Dice", "Overlap, 2·TP / (2·TP + FP + FN)"),
    "jaccard": ("Jaccard", "Overlap, TP / (TP + FP + FN)"),
    "precision": ("Precision", "Marked pixels that are tumour, TP / (TP + FP)"),
    "recall": ("Recall", "Tumour pixels that are marked, TP / (TP + FN); also called sensitivity"),
    "specificity": ("Specificity", "Healthy pixels left unmarked, TN / (TN + FP)"),
    "accuracy": ("Accuracy", "Pixels that are right; near 1 even for an empty mask, as tumours are small"),
    "f1": ("F1", "Harmonic mean of precision and recall; equals Dice"),
    "hd95": ("HD95", "95th percentile of the distances between the two outlines; smaller is better"),
    "nsd": ("NSD", "Normalised surface Dice: share of the outlines that agree within a tolerance"),
}
CALIBRATION = {
    "ece": "Expected calibration error",
    "nll": "Negative log-likelihood",
    "brier": "Brier score",
}
REVIEW = {"auc": "AUC of the review score", "area_auc": "AUC of a small marked area"}
WORST = 12
WORST_COLUMNS = ("case", "slice", "label", "patient", "tumour_type", "dice", "precision", "recall", "hd95")
BINS = 20


def write_evaluation_report(
    path: Path | str,
    metrics: Mapping[str, Any],
    per_image: Sequence[Mapping[str, Any]],
    examples: Sequence[tuple[str, np.ndarray]],
    manifest: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] | None = None,
    reliability: np.ndarray | None = None,
) -> None:
    """Write the report of an evaluation as one HTML file that opens offline.

    Args:
        path: the HTML file.
        metrics: the content of metrics.json. Any metric may be None (not defined).
        per_image: a row an image, with `dice` (None where not defined) and, where
            known, `tumour_type` and the other columns of `WORST_COLUMNS`.
        examples: title and RGB uint8 picture each.
        manifest: command, versions, seed, checksums, time; shown in the footer.
        history: a row an epoch of the training; None leaves out the curve.
        reliability: RGB uint8 picture of the reliability diagram; None leaves it out.

    Raises:
        OutputError: the file can't be written.
    """
    rated = [row for row in per_image if row.get("dice") is not None and np.isfinite(row["dice"])]
    worst = sorted(rated, key=lambda row: row["dice"])[:WORST]
    per_type = metrics.get("per_tumour_type") or {}
    write_page(
        path,
        "evaluation.html.j2",
        metrics=metrics,
        levels=LEVELS,
        names=METRICS,
        confidence=metrics.get("confidence_95") or {},
        per_type=per_type,
        type_columns=list(dict.fromkeys(key for row in per_type.values() for key in row)),
        histograms=_histograms(rated),
        worst=worst,
        worst_columns=_worst_columns(worst, rated),
        examples=[(title, data_uri(rgb)) for title, rgb in examples],
        curve=data_uri(pictures.training_curve(history)) if history else None,
        certainty=_certainty(metrics),
        reliability=None if reliability is None else data_uri(reliability),
        manifest=manifest,
    )


def _certainty(metrics: Mapping[str, Any]) -> list[tuple[str, float | None, Sequence[float] | None]]:
    """What is measured of certainty: name, value, interval."""
    calibration, review = metrics.get("calibration") or {}, metrics.get("review_score") or {}
    rows = [(title, calibration[name], calibration[f"{name}_95"]) for name, title in CALIBRATION.items() if calibration]
    for what in ("pictures", "cases") if review else ():
        found = review[what]
        several = f"{found['n_low']} of {found['n']} {what} with Dice < {review['low_dice']}"
        rows += [(f"{title}, {several}", found[name], found[f"{name}_95"]) for name, title in REVIEW.items()]
    return rows


def _worst_columns(worst: Sequence[Mapping[str, Any]], rated: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that the rows have; the label only where there is more than one."""
    columns = [name for name in WORST_COLUMNS if any(row.get(name) is not None for row in worst)]
    if len({row.get("label") for row in rated}) < 2 and "label" in columns:
        columns.remove("label")
    return columns


def _histograms(rated: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Dice of all images, then of each tumour type if there is more than one."""
    groups: dict[str, list[float]] = {"All images": [row["dice"] for row in rated]}
    types = sorted({str(row["tumour_type"]) for row in rated if row.get("tumour_type")})
    if len(types) > 1:
        for name in types:
            groups[name] = [row["dice"] for row in rated if str(row.get("tumour_type")) == name]
    return [_histogram(name, dice) for name, dice in groups.items() if dice]


def _histogram(name: str, dice: Sequence[float]) -> dict[str, Any]:
    counts, edges = np.histogram(np.asarray(dice, float), bins=BINS, range=(0.0, 1.0))
    return {
        "name": name,
        "n": len(dice),
        "median": float(np.median(dice)),
        "bins": [
            {"low": float(edges[i]), "high": float(edges[i + 1]), "count": int(count)} for i, count in enumerate(counts)
        ],
        "highest": int(counts.max()),
    }
