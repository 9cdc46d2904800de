"""How sure a mean is: the bootstrap over patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

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
    draws = patient_draws(n_groups, seed)
    return percentile_interval((draws @ sums) / (draws @ sizes), level)


def patient_draws(n_groups: int, seed: int) -> np.ndarray:
    """How often each patient is drawn in each resample, `(RESAMPLES, n_groups)`.

    That is all that a figure made of the patients' sums needs to know of a resample.
    """
    return np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), RESAMPLES)


def percentile_interval(resampled: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Low and high end of what resamples say; those without a value (NaN) are left out, both NaN if none has one."""
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def with_intervals(
    measure: Callable[[np.ndarray], Mapping[str, np.ndarray]], n_groups: int, seed: int
) -> dict[str, float | list[float] | None]:
    """Figures that are made of the patients' sums, each with its interval, as metrics.json holds them.

    Args:
        measure: makes `(resamples,)` values by name of draws `(resamples, n_groups)`, see `patient_draws`.
        n_groups: number of patients.
        seed: of the draws.

    Returns:
        `NAME` and, by bootstrap over patients, the 95 % interval `NAME_95`; None where not defined.
    """
    values = measure(np.ones((1, n_groups)))
    resampled = measure(patient_draws(n_groups, seed)) if n_groups > 1 else {}
    result: dict[str, float | list[float] | None] = {}
    for name, (value,) in values.items():
        low, high = percentile_interval(resampled[name]) if resampled else (math.nan, math.nan)
        result |= {name: None if math.isnan(value) else float(value)}
        result |= {f"{name}_95": None if math.isnan(low) else [low, high]}
    return result
