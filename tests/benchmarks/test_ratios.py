"""How many times as fast: rounds count, not the machine's mood."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ratios import ratio


def test_a_machine_that_slows_down_for_both_changes_no_ratio():
    rng = np.random.default_rng(1)
    ours = rng.uniform(0.9, 1.1, 40)
    slow = np.where(np.arange(40) % 2, 5.0, 1.0)
    still = ratio(2 * ours, ours)
    assert still == pytest.approx((2, 2, 2))
    assert ratio(2 * ours * slow, ours * slow) == pytest.approx(still)


def test_the_interval_holds_the_median_of_ratios_and_narrows_with_rounds():
    rng = np.random.default_rng(1)
    few, many = (ratio(3 * np.exp(rng.normal(0, 0.2, n)), np.ones(n)) for n in (10, 1000))
    for median, low, high in (few, many):
        assert low < median < high
        assert low < 3 < high
    assert many[2] - many[1] < (few[2] - few[1]) / 4


def test_one_round_has_no_interval():
    median, low, high = ratio([3.0], [2.0])
    assert median == 1.5
    assert math.isnan(low)
    assert math.isnan(high)
