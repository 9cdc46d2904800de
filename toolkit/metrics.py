"""Metrics of a predicted mask against the true one, in two steps.

First what is counted: `count` gives the four pixel counts of two masks,
`surface_distances` the distances between their boundaries. Then what is made of
it: every metric is a function of one of the two, registered with its names and
direction. Counts may be summed over pictures in between (pooling).

Foreground only: background pixels enter specificity and accuracy, nothing else.

"The paper" below is "Optimized LSTM-Driven MRI Preprocessing with Fine-Tuned
U-Net for Accurate Brain Tumor Segmentation".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

import numpy as np

from toolkit.components import bounding_box

DEFAULT_TOLERANCE = 2.0


class EmptyMaskRule(Enum):
    """What a metric is where a mask is empty, so that its formula has no value.

    Under both rules, if just one of the masks is empty: dice, jaccard, precision,
    recall, f1 and nsd are 0, and hd95 is the picture's diagonal (as in the BraTS
    challenges), so that a mean stays finite. The rules differ where both are empty:

    - `both-empty-is-one`: nothing to find and nothing marked is a full success:
      overlaps and nsd 1, hd95 0.
    - `both-empty-is-left-out`: those metrics are NaN and enter no mean.

    Specificity and accuracy have a value in either case and follow no rule.
    """

    BOTH_EMPTY_IS_ONE = "both-empty-is-one"
    BOTH_EMPTY_IS_LEFT_OUT = "both-empty-is-left-out"

    @property
    def overlap(self) -> float:
        """Value of an overlap metric, or of nsd, of two empty masks."""
        return 1.0 if self is EmptyMaskRule.BOTH_EMPTY_IS_ONE else math.nan

    @property
    def distance(self) -> float:
        """Value of a distance between two empty masks."""
        return 0.0 if self is EmptyMaskRule.BOTH_EMPTY_IS_ONE else math.nan


DEFAULT_RULE = EmptyMaskRule.BOTH_EMPTY_IS_ONE


@dataclass(frozen=True)
class Counts:
    """Pixels by truth and prediction: true and false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def both_empty(self) -> bool:
        """True where neither mask has a pixel."""
        return self.tp + self.fp + self.fn == 0


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the boundaries of two masks.

    Args:
        from_truth: for each boundary pixel of the truth, the distance to the
            nearest boundary pixel of the prediction; infinite if there is none.
        from_prediction: the same from the prediction to the truth.
        diagonal: length of the picture's diagonal, `sqrt(sum((size * spacing)^2))`.
    """

    from_truth: np.ndarray
    from_prediction: np.ndarray
    diagonal: float


def count(truth: np.ndarray, prediction: np.ndarray) -> Counts:
    """Count the pixels of two masks.

    Args:
        truth: bool, any shape.
        prediction: bool, the same shape.

    Raises:
        ValueError: the masks are not bool, or differ in shape.
    """
    _check_masks(truth, prediction)
    tp = int(np.count_nonzero(truth & prediction))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def surface_distances(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float] | None = None
) -> SurfaceDistances:
    """Distances between the boundaries of two masks.

    The boundary of a mask is made of those of its pixels that have a neighbour
    outside it across an edge (4 neighbours in 2-D) or a face (6 in 3-D). What lies
    beyond the picture is outside. Distances are Euclidean, between pixel centres,
    and every boundary pixel weighs the same (Nikolov et al. weigh surface elements
    by area instead).

    Args:
        truth: bool, 2-D or 3-D.
        prediction: bool, the same shape.
        spacing: distance of neighbouring pixels along each axis in mm, e.g.
            `(row, column)`; None measures in pixels.

    Raises:
        ValueError: the masks are not bool or differ in shape, or `spacing` does
            not have one positive number for each axis.
    """
    _check_masks(truth, prediction)
    steps = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, np.float64)
    if steps.shape != (truth.ndim,) or not (steps > 0).all():
        raise ValueError(f"spacing {spacing} needs {truth.ndim} positive numbers for a mask {truth.shape}")
    diagonal = float(np.linalg.norm(np.asarray(truth.shape) * steps))
    # Outside the box around both masks there is no boundary, so nothing is lost by the crop.
    box = bounding_box(truth | prediction)
    truth_boundary, prediction_boundary = boundary(truth[box]), boundary(prediction[box])
    return SurfaceDistances(
        _distances(truth_boundary, prediction_boundary, steps),
        _distances(prediction_boundary, truth_boundary, steps),
        diagonal,
    )


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of `mask` with a 4-neighbour (2-D) or 6-neighbour (3-D) outside it, as bool of its shape."""
    from scipy import ndimage  # here, as Dice needs no distances and SciPy takes long to load

    return mask & ~ndimage.binary_erosion(mask)


def dice(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Dice similarity coefficient, 2 TP / (2 TP + FP + FN); the paper's equation 9."""
    return _overlap(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts, rule)


def jaccard(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Jaccard index, TP / (TP + FP + FN); the paper's equation 10. Equals D / (2 - D) of Dice D."""
    return _overlap(counts.tp, counts.tp + counts.fp + counts.fn, counts, rule)


def precision(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Share of the marked pixels that are tumour, TP / (TP + FP); the paper's equation 11."""
    return _overlap(counts.tp, counts.tp + counts.fp, counts, rule)


def recall(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Share of the tumour that is marked (sensitivity), TP / (TP + FN); the paper's equation 12."""
    return _overlap(counts.tp, counts.tp + counts.fn, counts, rule)


def specificity(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Share of the background that is left unmarked, TN / (TN + FP); 1 if there is no background."""
    background = counts.tn + counts.fp
    return counts.tn / background if background else 1.0


def accuracy(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Share of all pixels that are right, (TP + TN) / all; the paper's equation 13."""
    return (counts.tp + counts.tn) / (counts.tp + counts.fp + counts.fn + counts.tn)


def f1(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """Harmonic mean of precision and recall; the paper's equation 14. Equals Dice."""
    p, r = precision(counts, rule), recall(counts, rule)
    return 2 * p * r / (p + r) if p + r else 0.0


def hd95(distances: SurfaceDistances, rule: EmptyMaskRule = DEFAULT_RULE) -> float:
    """95 % Hausdorff distance: the larger of the two directed 95th percentiles.

    After Nikolov et al. 2018, "Deep learning to achieve clinically applicable
    segmentation of head and neck anatomy for radiotherapy", arXiv:1809.04430.
    (MedPy and panoptica take one percentile of both directions together, which is
    never larger up to interpolation.) Unit: that of the distances, mm or pixels.
    """
    sizes = distances.from_truth.size, distances.from_prediction.size
    if not any(sizes):
        return rule.distance
    if not all(sizes):
        return distances.diagonal
    return float(max(np.percentile(distances.from_truth, 95), np.percentile(distances.from_prediction, 95)))


def nsd(distances: SurfaceDistances, rule: EmptyMaskRule = DEFAULT_RULE, tolerance: float = DEFAULT_TOLERANCE) -> float:
    """Normalised surface Dice: share of both boundaries that lies within `tolerance` of the other.

    `(|S within tau of S'| + |S' within tau of S|) / (|S| + |S'|)`, Nikolov et al.
    2018 (arXiv:1809.04430), with boundary pixels counted in place of surface areas.

    Args:
        distances: of the two masks.
        rule: for two empty masks.
        tolerance: tau, in the unit of the distances (mm or pixels).
    """
    both = np.concatenate([distances.from_truth, distances.from_prediction])
    return float(np.mean(both <= tolerance)) if both.size else rule.overlap


class Metric(NamedTuple):
    """A registered metric: its key in tables, its name in print, which way is better, its function."""

    short_name: str
    long_name: str
    better: Literal["higher", "lower"]
    function: Callable[..., float]


COUNT_METRICS: tuple[Metric, ...] = (
    Metric("dice", "Dice similarity coefficient", "higher", dice),
    Metric("jaccard", "Jaccard index", "higher", jaccard),
    Metric("precision", "Precision", "higher", precision),
    Metric("recall", "Recall (sensitivity)", "higher", recall),
    Metric("specificity", "Specificity", "higher", specificity),
    Metric("accuracy", "Accuracy", "higher", accuracy),
    Metric("f1", "F1 score", "higher", f1),
)
SURFACE_METRICS: tuple[Metric, ...] = (
    Metric("hd95", "95 % Hausdorff distance", "lower", hd95),
    Metric("nsd", "Normalised surface Dice", "higher", nsd),
)
METRICS: dict[str, Metric] = {metric.short_name: metric for metric in COUNT_METRICS + SURFACE_METRICS}


def metrics_from_counts(counts: Counts, rule: EmptyMaskRule = DEFAULT_RULE) -> dict[str, float]:
    """Every metric of `COUNT_METRICS`, by short name."""
    return {metric.short_name: metric.function(counts, rule) for metric in COUNT_METRICS}


def metrics_from_distances(
    distances: SurfaceDistances, rule: EmptyMaskRule = DEFAULT_RULE, tolerance: float = DEFAULT_TOLERANCE
) -> dict[str, float]:
    """Every metric of `SURFACE_METRICS`, by short name; `tolerance` in the unit of the distances."""
    return {"hd95": hd95(distances, rule), "nsd": nsd(distances, rule, tolerance)}


def _check_masks(truth: np.ndarray, prediction: np.ndarray) -> None:
    if truth.dtype != bool or prediction.dtype != bool:
        raise ValueError(f"masks must be bool, got {truth.dtype} and {prediction.dtype}")
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")


def _overlap(hits: int, total: int, counts: Counts, rule: EmptyMaskRule) -> float:
    if counts.both_empty:
        return rule.overlap
    return hits / total if total else 0.0


def _distances(start: np.ndarray, target: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Distance of every pixel of boundary `start` to the nearest pixel of boundary `target`."""
    from scipy import ndimage

    if not target.any():
        return np.full(int(np.count_nonzero(start)), math.inf)
    return ndimage.distance_transform_edt(~target, sampling=steps)[start]
