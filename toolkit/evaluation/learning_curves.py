"""Learning curves: Dice of the validation windows, epoch by epoch, of every model of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.evaluation.comparison import RunResult
from toolkit.pictures import SYNTHETIC_LABEL

# Okabe and Ito's palette, as in toolkit.pictures.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
STYLES = ("-", "--")


def curve_rows(results: Sequence[RunResult]) -> Iterator[dict[str, Any]]:
    """A row for each epoch of each run: model, seed, epoch (from 1), minutes spent, val_dice."""
    for run in results:
        epochs = len(run.validation_dice)
        for number, dice in enumerate(run.validation_dice, start=1):
            minutes = round(run.minutes * number / epochs, 2)
            yield {"model": run.model, "seed": run.seed, "epoch": number, "minutes": minutes, "val_dice": dice}


def mean_curve(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Epochs that every seed of a model has reached, and the mean Dice over seeds there.

    Args:
        rows: of one model, from `curve_rows`.

    Returns:
        `(epochs,)` numbers from 1, and `(epochs,)` Dice.
    """
    curves: dict[int, list[float]] = {}
    for row in rows:
        curves.setdefault(row["seed"], []).append(row["val_dice"])
    shortest = min(map(len, curves.values()))
    return np.arange(1, shortest + 1), np.mean([curve[:shortest] for curve in curves.values()], axis=0)


def draw_curves(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], synthetic: bool = False) -> np.ndarray:
    """Draw the curves: thin lines the seeds, where there are several, a thick one their mean.

    Args:
        rows: from `curve_rows`.
        labels: what each model is called.
        synthetic: write "SYNTHETIC" above.

    Returns:
        `(height, width, 3)` uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8.0, 4.6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    for index, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index // len(COLOURS) % len(STYLES)]
        own = [row for row in rows if row["model"] == model]
        seeds = dict.fromkeys(row["seed"] for row in own)
        for seed in seeds if len(seeds) > 1 else ():
            points = [(row["epoch"], row["val_dice"]) for row in own if row["seed"] == seed]
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(*mean_curve(own), style, color=colour, linewidth=2, marker="o", markersize=3, label=labels[model])
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("Dice of validation windows")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if synthetic:
        axes.set_title(SYNTHETIC_LABEL, loc="left")
    axes.legend(frameon=False, loc="lower right")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
