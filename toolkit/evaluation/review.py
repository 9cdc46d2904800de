"""How well the review score finds the masks that need a look, and the predicted area alone beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.evaluation.statistics import with_intervals
from toolkit.inference.uncertainty import IN_QUESTION_FROM, review_score
from toolkit.metrics import EmptyMaskRule, count, dice

LOW_DICE = 0.5
RULE = (
    "1 - expected Dice of the mask, 2 sum_M p / (|M| + sum p) with marked pixels M and the calibrated probability p of "
    f"those and of all with a raw one of {IN_QUESTION_FROM} or more; of an empty mask min(1, highest p / 0.5)"
)
BOOTSTRAP_SEED = 0


class Judged(NamedTuple):
    """A mask of a picture or a case: whose, its Dice, its review score, and the share of its pixels that is marked."""

    patient_group: str
    dice: float
    score: float
    area: float


class ReviewTable:
    """Review scores beside the Dice that came out, of the tumour as a whole: all regions together, in mask and truth.

    Cases are added one at a time; kept are numbers.

    Args:
        rule: for the Dice of empty masks.
    """

    def __init__(self, rule: EmptyMaskRule) -> None:
        self._rule = rule
        self._pictures: list[Judged] = []
        self._cases: list[Judged] = []

    def add(
        self, mask: np.ndarray, truth: np.ndarray, calibrated: np.ndarray, raw: np.ndarray, patient_group: str
    ) -> tuple[float, ...]:
        """Take a case, or the slices of one that are judged.

        Args:
            mask: `(slices, height, width)` bool, what is marked.
            truth: `(slices, height, width)` bool.
            calibrated: `(slices, height, width)`, probability of being tumour after the temperature.
            raw: `(slices, height, width)`, before it.
            patient_group: who it is of.

        Returns:
            The score of each slice.
        """
        pictures = [self._judged(*planes, patient_group) for planes in zip(mask, truth, calibrated, raw, strict=True)]
        self._pictures += pictures
        self._cases.append(self._judged(mask, truth, calibrated, raw, patient_group))
        return tuple(picture.score for picture in pictures)

    def summary(self) -> dict[str, Any]:
        """For metrics.json: the rule, and what `_found` says of pictures and of cases (Dice over all their pixels)."""
        return {
            "rule": RULE,
            "of": "the tumour as a whole",
            "low_dice": LOW_DICE,
            "pictures": _found(self._pictures),
            "cases": _found(self._cases),
        }

    def _judged(
        self, mask: np.ndarray, truth: np.ndarray, calibrated: np.ndarray, raw: np.ndarray, patient_group: str
    ) -> Judged:
        score, area = review_score(mask, calibrated, raw >= IN_QUESTION_FROM), np.count_nonzero(mask) / mask.size
        return Judged(patient_group, dice(count(truth, mask), self._rule), score, area)


class RankedPairs(NamedTuple):
    """Pairs of a low one and another, counted by whose they are: all that an AUC over resampled patients needs.

    Args:
        right: `(patients, patients)`, of the pairs of a low one of patient a and another of patient b, how many a score
            puts in the right order, ties half.
        n_low: `(patients,)`.
        n_other: `(patients,)`.
    """

    right: np.ndarray
    n_low: np.ndarray
    n_other: np.ndarray

    def auc(self, draws: np.ndarray) -> np.ndarray:
        """Chance that a low one has a higher score than another, ties half (Mann and Whitney 1947).

        Args:
            draws: `(resamples, patients)`, how often each patient counts.

        Returns:
            `(resamples,)`; NaN where there is no low one or no other.
        """
        n_pairs = (draws @ self.n_low) * (draws @ self.n_other)
        with np.errstate(invalid="ignore"):
            return ((draws @ self.right) * draws).sum(axis=1) / n_pairs


def ranked_pairs(
    scores: Sequence[float] | np.ndarray, low: Sequence[bool] | np.ndarray, groups: Sequence[str]
) -> RankedPairs:
    """Count pairs.

    Args:
        scores: `(n,)`, the higher, the more suspicious.
        low: `(n,)`, which are to be found.
        groups: `(n,)`, patient group of each.
    """
    values, is_low = np.asarray(scores, np.float64), np.asarray(low, bool)
    names, group = np.unique(groups, return_inverse=True)
    others, their_group = values[~is_low], group[~is_low]
    right = np.zeros((len(names), len(names)))
    for score, patient in zip(values[is_low], group[is_low], strict=True):
        right[patient] += np.bincount(their_group, (1 + np.sign(score - others)) / 2, len(names))
    n_low, n_other = (np.bincount(members, minlength=len(names)) for members in (group[is_low], their_group))
    return RankedPairs(right, n_low, n_other)


def _found(judged: Sequence[Judged]) -> dict[str, Any]:
    """How well a Dice below 0.5 is found.

    Returns:
        `auc` of the score (`RankedPairs`), `area_auc` of a small marked area, `auc_gain`, the first minus the second;
        as `NAME_95` the 95 % interval of each by bootstrap over patients; `n_low`, how many are low, of `n`. None
        where there are no low ones or only low ones, or no other patient to resample.
    """
    known = [one for one in judged if not np.isnan(one.dice)]
    low, groups = [one.dice < LOW_DICE for one in known], [one.patient_group for one in known]
    by_score = ranked_pairs([one.score for one in known], low, groups)
    by_area = ranked_pairs([-one.area for one in known], low, groups)

    def both(draws: np.ndarray) -> dict[str, np.ndarray]:
        of_score, of_area = by_score.auc(draws), by_area.auc(draws)
        return {"auc": of_score, "area_auc": of_area, "auc_gain": of_score - of_area}

    return with_intervals(both, len(set(groups)), BOOTSTRAP_SEED) | {"n_low": sum(low), "n": len(known)}
