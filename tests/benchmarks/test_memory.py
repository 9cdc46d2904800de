"""A line through peaks of memory."""

from __future__ import annotations

import pytest
from memory import line


def test_points_on_a_line_give_that_line():
    found = line([40, 80, 155], [300 + 2 * 40, 300 + 2 * 80, 300 + 2 * 155])
    assert found == pytest.approx((300, 2, 0), abs=1e-9)


def test_the_largest_residual_tells_of_points_off_the_line():
    # By hand: least squares through (0, 0), (1, 3), (2, 0) is flat at 1.
    assert line([0, 1, 2], [0, 3, 0]) == pytest.approx((1, 0, 2), abs=1e-9)
