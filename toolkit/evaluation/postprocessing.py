"""Which post-processing does best: candidates beside one another on the same pictures."""

from __future__ import annotations

from itertools import groupby, product
from typing import Any, NamedTuple

import numpy as np

from toolkit.config import Recipe
from toolkit.data.regions import label_mask, region_masks
from toolkit.evaluation.statistics import bootstrap_interval
from toolkit.inference.postprocessing import likeliest_labels, post_processed
from toolkit.metrics import count, dice
from toolkit.models.model_file import DEFAULT_THRESHOLD, PostProcessing

BOOTSTRAP_SEED = 0


class Candidate(NamedTuple):
    """What is tried; by default nothing but the threshold of a fresh model."""

    threshold: float = DEFAULT_THRESHOLD
    post_processing: PostProcessing = PostProcessing()


# Simple ones first: of equals the first is taken.
THRESHOLDS = (DEFAULT_THRESHOLD, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)
# Shares of the grid; of a head that fills a picture of 240 mm they are discs of 3.8, 6, 8.6 and 12 mm.
SMALLEST_COMPONENTS = (0.0002, 0.0005, 0.001, 0.002)
SPECKS: tuple[dict[str, Any], ...] = (
    {},
    *({"smallest_component": share} for share in SMALLEST_COMPONENTS),
    {"largest_only": True},
)
CANDIDATES = tuple(
    Candidate(threshold, PostProcessing(fill_holes=fill_holes, **specks))
    for threshold, specks, fill_holes in product(THRESHOLDS, SPECKS, (False, True))
)
NONE = CANDIDATES[0]


class Contest:
    """Dice of every candidate in every picture. Cases are added one at a time; kept are numbers, never a mask.

    Args:
        recipe: of the model.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._dice: dict[Candidate, list[float]] = {candidate: [] for candidate in CANDIDATES}
        self._patients: list[str] = []

    def add(
        self,
        probability: np.ndarray,
        truth: np.ndarray,
        patient_group: str,
        spacing_mm: tuple[float, float, float] | None,
    ) -> None:
        """Try every candidate on a case.

        Args:
            probability: `(slices, height, width, regions)`.
            truth: `(slices, height, width)` labels.
            patient_group: who the case is of.
            spacing_mm: `(slice, row, column)` distances, or None if unknown.
        """
        model = self._recipe.model
        true_regions, likeliest = region_masks(truth, model), likeliest_labels(probability, model)
        for threshold, candidates in groupby(CANDIDATES, lambda candidate: candidate.threshold):
            labels = label_mask(probability, model, threshold)
            for candidate in candidates:
                mask = post_processed(labels, likeliest, candidate.post_processing, self._recipe, spacing_mm)
                self._dice[candidate] += _picture_dice(true_regions, region_masks(mask, model))
        self._patients += [patient_group] * (len(truth) * true_regions.shape[-1])

    def ranked(self) -> list[Candidate]:
        """All candidates, the highest mean first; of equals the simpler one, so that none is only left for better."""
        return sorted(CANDIDATES, key=lambda candidate: -float(np.mean(self._dice[candidate])))

    def row(self, candidate: Candidate) -> dict[str, Any]:
        """What is known of a candidate.

        `dice` is the mean over pictures (of several regions, over pictures and regions) as in `per_image_mean` of
        `bts-evaluate`; `gain` the mean of the pictures' differences to no post-processing, and `gain_low`,
        `gain_high` its 95 % interval by bootstrap over patients; NaN of a single patient.
        """
        values = np.array(self._dice[candidate])
        gains = values - self._dice[NONE]
        low, high = bootstrap_interval(gains, self._patients, BOOTSTRAP_SEED)
        row = {"threshold": candidate.threshold} | candidate.post_processing.model_dump()
        return row | {"dice": float(values.mean()), "gain": float(gains.mean()), "gain_low": low, "gain_high": high}


def _picture_dice(truth: np.ndarray, mask: np.ndarray) -> list[float]:
    """Dice of each region in each picture, `(slices, height, width, regions)` bool both."""
    pictures = np.moveaxis(truth, -1, 1), np.moveaxis(mask, -1, 1)
    return [dice(count(*both)) for slices in zip(*pictures, strict=True) for both in zip(*slices, strict=True)]
