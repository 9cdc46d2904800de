"""Histograms are laid out truthfully: heights, places and texts worked by hand."""

import numpy as np
import pytest

from toolkit.report.charts import BOTTOM, LEFT, RIGHT, TOP, Axis, histogram_chart, nice_ticks
from toolkit.report.overview import Histogram

LINEAR = Axis("Dose (mg)", (0, 1, 2), "{:g}".format, logarithmic=False)
DECADES = Axis("Size (mm, log)", (1, 10, 100), "{:g}".format)


def draw(edges, counts, axis=LINEAR, highest=None):
    counts = np.asarray(counts)
    histogram = Histogram(np.asarray(edges, float), counts)
    return histogram_chart("Pills", histogram, axis, "Patients", "{:g}".format, highest or float(counts.max()))


@pytest.mark.parametrize(
    ("highest", "whole", "ticks"),
    [
        (8, True, [0, 2, 4, 6, 8]),
        (9, True, [0, 5, 10]),
        (1, True, [0, 1]),
        (0, True, [0, 1]),
        (2454, True, [0, 1000, 2000, 3000]),
        (0.04, False, [0, 0.01, 0.02, 0.03, 0.04]),
        (0.3, False, [0, 0.1, 0.2, 0.3]),
        (1, False, [0, 0.5, 1]),
    ],
)
def test_the_upright_axis_is_marked_at_round_numbers(highest, whole, ticks):
    assert nice_ticks(highest, whole) == pytest.approx(ticks)


def test_a_bar_is_as_high_as_its_count():
    chart = draw([0, 0.5, 1, 2], [2, 4, 0])
    assert [bar.height for bar in chart.bars] == [(BOTTOM - TOP) / 2, BOTTOM - TOP, 0]
    assert [(bar.between, bar.value) for bar in chart.bars] == [("0 to 0.5", "2"), ("0.5 to 1", "4"), ("1 to 2", "0")]
    assert chart.cut is None
    assert chart.description == "3 bars from 0 to 2; the highest, 4, at 0.5 to 1."
    assert chart.y_ticks[0] == (BOTTOM, "0")
    assert chart.y_ticks[-1] == (TOP, "4")


def test_bars_stand_where_the_axis_says():
    width = RIGHT - LEFT
    linear = draw([0, 0.5, 1, 2], [1, 1, 1])
    assert [bar.x - LEFT for bar in linear.bars] == [0, width / 4, width / 2]
    assert [bar.width for bar in linear.bars] == [width / 4, width / 4, width / 2]
    decades = draw([1, 10, 100], [1, 1], DECADES)
    assert [bar.x - LEFT for bar in decades.bars] == [0, width / 2]
    assert decades.x_ticks == ((LEFT, "1"), (LEFT + width / 2, "10"), (RIGHT, "100"))


def test_a_bar_beyond_the_axis_is_cut_off_and_says_its_count():
    chart = draw([0, 0.5, 1, 2], [90, 70, 4], highest=4)
    assert [bar.height for bar in chart.bars] == [BOTTOM - TOP] * 3
    assert [bar.cut for bar in chart.bars] == [True, True, False]
    assert chart.cut == (chart.bars[2].x, "90"), "the text stands behind all that is cut"


def test_nothing_to_draw_is_drawn_as_nothing():
    assert [bar.height for bar in draw([0, 1, 2], [0, 0]).bars] == [0, 0]
