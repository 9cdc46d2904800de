"""Lesion-wise metrics: is each single lesion found, how well, and what is marked besides.

A lesion is a connected component of a mask (`toolkit.components`). Lesions of truth
and prediction are matched one to one: pairs are taken in order of falling IoU, each
lesion at most once, as long as the IoU is at least `IOU_THRESHOLD`. This is the
naive threshold matching of panoptica (Kofler et al. 2023, arXiv:2312.02608) at the
IoU of 0.1 that nnDetection (Baumgartner et al. 2021, arXiv:2106.00817) uses, as
finding a lesion matters more than its outline, which Dice judges already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from toolkit.components import components

IOU_THRESHOLD = 0.1
MATCHING_RULE = f"one-to-one-iou-{IOU_THRESHOLD}"


@dataclass(frozen=True)
class Lesion:
    """A lesion of the truth, or a predicted one that matches none.

    Args:
        status: `found` or `missed` for a true lesion; `false_positive`.
        truth_pixels: its size in the truth; 0 for a false positive.
        predicted_pixels: size of the predicted lesion matched to it; 0 if missed.
        iou: of the matched pair; 0 where there is no pair.
        dice: of the matched pair; 0 where there is no pair.
    """

    status: Literal["found", "missed", "false_positive"]
    truth_pixels: int
    predicted_pixels: int
    iou: float
    dice: float


@dataclass(frozen=True)
class LesionSummary:
    """What `lesion_wise` says of a set of cases.

    Args:
        dice: mean over all true lesions, a missed one with 0; None without any.
        sensitivity: share of the true lesions that are found; None without any.
        false_positives_per_case: predicted lesions that match none, a case.
        n_lesions: true lesions.
    """

    dice: float | None
    sensitivity: float | None
    false_positives_per_case: float
    n_lesions: int


def find_lesions(truth: np.ndarray, prediction: np.ndarray) -> list[Lesion]:
    """Match the lesions of a case.

    Args:
        truth: bool, `(slices, height, width)` or `(height, width)`.
        prediction: bool, the same shape.

    Returns:
        One entry for each true lesion in the order of the components, then one
        for each false positive.
    """
    truth_labels, truth_sizes = components(truth)
    predicted_labels, predicted_sizes = components(prediction)
    matches = _match(truth_labels, truth_sizes, predicted_labels, predicted_sizes)
    lesions = []
    for index, size in enumerate(truth_sizes[1:].tolist(), start=1):
        if index in matches:
            partner, iou = matches[index]
            found_size = int(predicted_sizes[partner])
            lesions.append(Lesion("found", size, found_size, iou, 2 * iou / (1 + iou)))
        else:
            lesions.append(Lesion("missed", size, 0, 0.0, 0.0))
    used = {partner for partner, _ in matches.values()}
    for index, size in enumerate(predicted_sizes[1:].tolist(), start=1):
        if index not in used:
            lesions.append(Lesion("false_positive", 0, size, 0.0, 0.0))
    return lesions


def summarise(lesions: Sequence[Lesion], n_cases: int) -> LesionSummary:
    """Lesion-wise metrics over the lesions of `n_cases` cases."""
    true_lesions = [lesion for lesion in lesions if lesion.status != "false_positive"]
    n_lesions = len(true_lesions)
    found = sum(lesion.status == "found" for lesion in true_lesions)
    return LesionSummary(
        dice=sum(lesion.dice for lesion in true_lesions) / n_lesions if n_lesions else None,
        sensitivity=found / n_lesions if n_lesions else None,
        false_positives_per_case=(len(lesions) - n_lesions) / n_cases,
        n_lesions=n_lesions,
    )


def _match(
    truth_labels: np.ndarray,
    truth_sizes: np.ndarray,
    predicted_labels: np.ndarray,
    predicted_sizes: np.ndarray,
) -> dict[int, tuple[int, float]]:
    """True lesion -> (predicted lesion, IoU), by the rule of this module."""
    shared = (truth_labels > 0) & (predicted_labels > 0)
    # A pair of labels as one number, which NumPy counts much faster than columns.
    keys = truth_labels[shared].astype(np.int64) * len(predicted_sizes) + predicted_labels[shared]
    pairs, overlaps = np.unique(keys, return_counts=True)
    true_lesions, predicted_lesions = np.divmod(pairs, len(predicted_sizes))
    ious = overlaps / (truth_sizes[true_lesions] + predicted_sizes[predicted_lesions] - overlaps)
    matches: dict[int, tuple[int, float]] = {}
    used: set[int] = set()
    # A stable sort: of equal IoUs, the pair with the smaller labels comes first.
    for k in np.argsort(-ious, kind="stable"):
        true_lesion, predicted_lesion, iou = int(true_lesions[k]), int(predicted_lesions[k]), float(ious[k])
        if iou >= IOU_THRESHOLD and true_lesion not in matches and predicted_lesion not in used:
            matches[true_lesion] = predicted_lesion, iou
            used.add(predicted_lesion)
    return matches
