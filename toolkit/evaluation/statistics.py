"""How sure a mean is: the bootstrap over patients."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

RESAMPLES = 2000


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, groups: Sequence[Hashable], seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over pictures, with whole patients resampled.

    Pictures of one patient resemble each other, so they are no independent
    draws. Patients are: each resample draws as many patients as there are, with
    replacement and each with all their pictures, and takes the mean over the
    pictures drawn (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

    Args:
        values: `(pictures,)`, a metric of each picture; NaN is left out.
        groups: `(pictures,)`, the patient group of each picture.
        seed: of the draws; equal seeds give equal intervals.
        level: of confidence, between 0 and 1.

    Returns:
        Low and high end; both NaN with fewer than two patients, of whom nothing
        can be said about others.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.shape != (len(groups),):
        raise ValueError(f"{numbers.shape} values for {len(groups)} groups")
    kept = np.flatnonzero(~np.isnan(numbers))
    indices: dict[Hashable, int] = {}
    members = [indices.setdefault(groups[k], len(indices)) for k in kept]
    n_groups = len(indices)
    if n_groups < 2:
        return math.nan, math.nan
    sums = np.bincount(members, weights=numbers[kept], minlength=n_groups)
    sizes = np.bincount(members, minlength=n_groups)
    # How often each patient is drawn is all that a mean needs to know of a resample.
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), RESAMPLES)
    means = (draws @ sums) / (draws @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
