"""Figure 6: bars of Dice, Jaccard and accuracy, model by model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from toolkit.evaluation.paper import PaperScores
from toolkit.pictures import SYNTHETIC_LABEL

# Okabe and Ito's palette, as in toolkit.pictures.
BARS = {"dsc": ("DSC", "#0072B2"), "ji": ("JI", "#56B4E9"), "accuracy": ("accuracy", "#E69F00")}
WIDTH = 0.27
INCHES_A_MODEL = 1.7


def figure6(
    rows: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
    paper: Mapping[str, PaperScores],
    synthetic: bool = False,
) -> np.ndarray:
    """Draw the bars with their 95 % intervals, in percent, from 0 on.

    Args:
        rows: of Table 3, one for each model.
        labels: what each model is called.
        paper: what the paper reports for a model, drawn as hollow markers; models without it have none.
        synthetic: write "SYNTHETIC" above.

    Returns:
        `(height, width, 3)` uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 1.5 + INCHES_A_MODEL * len(rows)), 4.6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    for position, row in enumerate(rows):
        for index, column in enumerate(BARS):
            _draw_bar(axes, position + (index - 1) * WIDTH, row, column, paper.get(row["model"]))
    axes.set_xticks(range(len(rows)), [fill(labels[row["model"]], 17) for row in rows])
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("percent, 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if synthetic:
        axes.set_title(SYNTHETIC_LABEL, loc="left")
    figure.legend(handles=_legend(rows, paper), loc="outside upper right", ncols=5, frameon=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_bar(axes, x: float, row: Mapping[str, Any], column: str, paper: PaperScores | None) -> None:
    value, (_, colour) = 100 * row[column], BARS[column]
    if math.isnan(value):
        return
    hatch = "///" if row["leaking"] else None
    axes.bar(x, value, WIDTH * 0.94, color=colour, hatch=hatch, edgecolor="white" if hatch else colour, linewidth=0)
    low, high = 100 * row[f"{column}_low"], 100 * row[f"{column}_high"]
    top = value
    if not math.isnan(low):
        axes.vlines(x, low, high, color="black", linewidth=1)
        top = max(value, high)
    quoted = 100 * getattr(paper, column) if paper else math.nan
    axes.plot(x, quoted, "D", markerfacecolor="white", markeredgecolor="black", markersize=5)
    # Neither the interval nor the marker may run through the number.
    above = max(top, quoted + 1.5) if quoted - 6 < top else top
    axes.text(x, above + 0.8, f"{value:.1f}", ha="center", va="bottom", fontsize=7)


def _legend(rows: Sequence[Mapping[str, Any]], paper: Mapping[str, PaperScores]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=title) for title, colour in BARS.values()]
    if any(row["model"] in paper for row in rows):
        handles.append(
            Line2D(
                [], [], marker="D", color="none", markerfacecolor="white", markeredgecolor="black", label="the paper's"
            )
        )
    if any(row["leaking"] for row in rows):
        handles.append(Patch(facecolor="grey", edgecolor="white", hatch="///", label="LEAKS PATIENTS"))
    return handles
