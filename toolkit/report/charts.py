"""Histograms as SVG: where bars, ticks and texts go. The template `charts.html.j2` draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.report.overview import Histogram

# Where the axes lie in a drawing of 320 x 200, whose units are about pixels on a phone.
LEFT, RIGHT, TOP, BOTTOM = 40, 300, 26, 156
MOST_TICKS = 5


@dataclass(frozen=True)
class Bar:
    """A bar: place and size in the drawing, its interval and count as text, whether it is higher than the axis."""

    x: float
    width: float
    height: float
    between: str
    value: str
    cut: bool


@dataclass(frozen=True)
class Chart:
    """A histogram ready to be drawn.

    Args:
        title, x_label, y_label: with units.
        description: one sentence for who can't see it.
        bars: from left to right.
        x_ticks, y_ticks: position in the drawing, and text.
        cut: x behind the last bar that is cut off, and what the highest says; None if none is.
    """

    title: str
    x_label: str
    y_label: str
    description: str
    bars: tuple[Bar, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    cut: tuple[float, str] | None


@dataclass(frozen=True)
class Axis:
    """The axis along which a histogram is binned.

    Args:
        label: with the unit.
        ticks: values at which it is marked.
        text: how a value is written.
        logarithmic: whether equal steps are equal factors.
    """

    label: str
    ticks: Sequence[float]
    text: Callable[[float], str]
    logarithmic: bool = True

    def positions(self, values: np.ndarray | Sequence[float], edges: np.ndarray) -> np.ndarray:
        """x of values in the drawing, where `edges` span the axis."""
        scale = np.log10 if self.logarithmic else np.asarray
        first, last = scale(edges[[0, -1]])
        return LEFT + (RIGHT - LEFT) * (scale(np.asarray(values, float)) - first) / (last - first)


def histogram_chart(
    title: str, histogram: Histogram, axis: Axis, y_label: str, y_text: Callable[[float], str], highest: float
) -> Chart:
    """Lay a histogram out.

    Args:
        title: what it is of.
        histogram: what is drawn.
        axis: how its edges are shown.
        y_label: what is counted, with the unit.
        y_text: how a count is written.
        highest: count that the upright axis must reach; bars beyond it are cut off.
    """
    ticks = nice_ticks(highest, whole=histogram.counts.dtype.kind in "iu")
    edges, top = histogram.edges, ticks[-1]
    bars = _bars(histogram, axis, y_text, top)
    peak = bars[int(np.argmax(histogram.counts))]
    span = f"{axis.text(edges[0])} to {axis.text(edges[-1])}"
    return Chart(
        title=title,
        x_label=axis.label,
        y_label=y_label,
        description=f"{len(bars)} bars from {span}; the highest, {peak.value}, at {peak.between}.",
        bars=bars,
        x_ticks=tuple((round(float(axis.positions([tick], edges)[0]), 2), axis.text(tick)) for tick in axis.ticks),
        y_ticks=tuple((round(BOTTOM - (BOTTOM - TOP) * tick / top, 2), y_text(tick)) for tick in ticks),
        cut=(max(bar.x + bar.width for bar in bars if bar.cut), peak.value) if peak.cut else None,
    )


def nice_ticks(highest: float, whole: bool) -> list[float]:
    """From 0 to `highest` or just above it, in steps of 1, 2 or 5 times a power of ten.

    Args:
        highest: 0 counts as 1.
        whole: steps are whole numbers.
    """
    highest = highest if highest > 0 else 1.0
    rough = max(highest / (MOST_TICKS - 1), 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    # The small allowance keeps rounding from adding a step.
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * i for i in range(math.ceil(highest / step - 1e-9) + 1)]


def _bars(histogram: Histogram, axis: Axis, y_text: Callable[[float], str], top: float) -> tuple[Bar, ...]:
    edges = histogram.edges
    x = axis.positions(edges, edges)
    return tuple(
        Bar(
            x=round(float(x[i]), 2),
            width=round(float(x[i + 1] - x[i]), 2),
            height=round((BOTTOM - TOP) * min(float(count) / top, 1.0), 2),
            between=f"{axis.text(edges[i])} to {axis.text(edges[i + 1])}",
            value=y_text(float(count)),
            cut=bool(count > top),
        )
        for i, count in enumerate(histogram.counts)
    )
