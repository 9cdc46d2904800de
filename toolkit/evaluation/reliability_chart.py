"""The reliability diagram: what share of the pixels is tumour of which a model says so, and how many they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.evaluation.calibration import N_BINS, PatientSums, measured, reliability
from toolkit.pictures import SYNTHETIC_LABEL

# Okabe and Ito's palette, as in toolkit.pictures.
COLOURS = ("#E69F00", "#0072B2")
MARKERS = ("s", "o")
LEAST_PIXELS = 100


def draw_reliability(sums: Mapping[str, PatientSums], synthetic: bool = False) -> np.ndarray:
    """Draw reliability diagrams over one another, and below them histograms of the probability.

    A perfect model lies on the diagonal; below it, it says too much. Bins of fewer than 100 pixels have no point, as it
    would jump with each of them; the histogram shows them.

    Args:
        sums: two at most, by what they are called.
        synthetic: write "SYNTHETIC" above.

    Returns:
        `(height, width, 3)` uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 7.0), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    diagram, histogram = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    diagram.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle=":")
    for (name, one), colour, marker in zip(sums.items(), COLOURS, MARKERS, strict=False):
        _draw(diagram, histogram, name, one, colour, marker)
    diagram.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of pixels that are tumour")
    diagram.legend(frameon=False, loc="upper left")
    most = max(float(one.bins[..., 0].sum(axis=0).max()) for one in sums.values())
    histogram.set_ylim(1, 2 * max(most, 1))
    histogram.set(yscale="log", xlabel="probability told", ylabel="pixels")
    for axes in (diagram, histogram):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    if synthetic:
        diagram.set_title(SYNTHETIC_LABEL, loc="left")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(diagram, histogram, name: str, sums: PatientSums, colour: str, marker: str) -> None:
    rows, error = reliability(sums), measured(sums)["ece"]
    shown = [row for row in rows if row["pixels"] >= LEAST_PIXELS]
    diagram.plot(
        [row["mean_probability"] for row in shown],
        [row["share_true"] for row in shown],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.6,
        label=name if error is None else f"{name}, ECE {error:.3f}",
    )
    edges, pixels = np.linspace(0, 1, N_BINS + 1), [row["pixels"] for row in rows]
    histogram.stairs(pixels, edges, baseline=None, color=colour, linewidth=1.6)
