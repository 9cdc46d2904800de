"""A search at a glance: how it went, and how Dice follows each value that was searched."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.pictures import SYNTHETIC_LABEL

COMPLETE, GIVEN_UP, BEST = "#0072B2", "#999999", "#D55E00"
COLUMNS = 3


def draw_search(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], logarithmic: Collection[str], synthetic: bool = False
) -> np.ndarray:
    """Dice by trial with the best so far, then Dice by each value.

    Args:
        rows: a trial each, with `state`, `dice` and a value for each key.
        keys: that were searched.
        logarithmic: those of them that have such an axis.
        synthetic: write "SYNTHETIC" above.

    Returns:
        `(height, width, 3)` uint8. Grey marks are trials that were given up, at the Dice they had by then.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    trained = [(number, row) for number, row in enumerate(rows, start=1) if row["dice"] is not None]
    lines = math.ceil((1 + len(keys)) / COLUMNS)
    figure = Figure(figsize=(10.0, 3.0 * lines), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True).ravel()
    for axes, key in zip(panels, [None, *keys], strict=False):
        values = [number if key is None else row[key] for number, row in trained]
        if any(isinstance(value, bool | str) for value in values):
            values = [str(value) for value in values]
        for value, (_, row) in zip(values, trained, strict=True):
            colour = COMPLETE if row["state"] == "complete" else GIVEN_UP
            axes.plot([value], [row["dice"]], "o", color=colour, markersize=5, alpha=0.8)
        if key is None:
            _draw_best(axes, trained)
        elif key in logarithmic:
            axes.set_xscale("log")
        axes.set_xlabel("trials in their order" if key is None else key)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[1 + len(keys) :]:
        axes.set_visible(False)
    for axes in panels[::COLUMNS]:
        axes.set_ylabel("Dice of validation windows")
    if synthetic:
        panels[0].set_title(SYNTHETIC_LABEL, loc="left")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_best(axes: Any, trained: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """A line at the best of the trials so far that were completed."""
    complete = [(number, row["dice"]) for number, row in trained if row["state"] == "complete"]
    if complete:
        numbers, dice = zip(*complete, strict=True)
        axes.step(numbers, np.maximum.accumulate(dice), where="post", color=BEST, linewidth=1.5, label="best so far")
        axes.legend(frameon=False, loc="lower right")
