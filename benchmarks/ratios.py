"""How many times as fast, measured in turns: the median over rounds, with an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

SEED = 1


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> tuple[float, float, float]:
    """Median of ratios within a round, and its 95 % interval (percentile bootstrap over rounds).

    Both of a ratio were measured in the same round, so that a machine that slows down does so for both.

    Args:
        numerator: `(rounds,)` seconds.
        denominator: `(rounds,)` seconds of the same rounds.

    Returns:
        Median, low end, high end.
    """
    ratios = np.asarray(numerator, float) / np.asarray(denominator, float)
    if len(ratios) < 2:
        return float(ratios[0]), float("nan"), float("nan")
    low, high = bootstrap((ratios,), np.median, method="percentile", rng=SEED).confidence_interval
    return float(np.median(ratios)), float(low), float(high)
