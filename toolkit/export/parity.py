"""Whether an exported model says what the model in Keras says, and how far off it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.data.intensity import intensity_range
from toolkit.data.regions import label_mask
from toolkit.inference.runtimes.runtime import Runtime
from toolkit.metrics import count, dice

# An 8-bit picture and a clinical scan of it are to be marked alike, so every case is also asked about as a * x + b.
SCALE, OFFSET = 16, 100
# By precision: what is judged, and how much of it is allowed. Weights in float16 are off by up to 1 / 4096, which on
# the steep edge of a mark moves a pixel in a million by some hundredths: there the 99.9th percentile says more than
# the worst pixel. Integers are judged by what they do to Dice.
TOLERANCES = {
    "float32": ("max_difference", 1e-4),
    "float16": ("p999_difference", 5e-3),
    "dynamic": ("dice_change", 0.01),
    "int8": ("dice_change", 0.01),
}


class Probe(NamedTuple):
    """A case that both are asked about.

    Args:
        name: of the case.
        images: `(slices, height, width, modalities)`, as stored.
        value_range: `(modalities, 2)` of the case.
        spacing_mm: where known.
        truth: `(slices, height, width)` labels; none: unknown.
    """

    name: str
    images: np.ndarray
    value_range: np.ndarray
    spacing_mm: tuple[float, float, float] | None
    truth: np.ndarray | None


def rescaled(probe: Probe) -> Probe:
    """The same case as another scanner may store it: `16 x + 100` in int16, or in int32 where that is too small."""
    images = np.rint(probe.images.astype(np.float64) * SCALE + OFFSET)
    images = images.astype(np.int16 if abs(images).max() <= np.iinfo(np.int16).max else np.int32)
    return probe._replace(name=f"{probe.name}, rescaled", images=images, value_range=intensity_range(images))


def judge_parity(precision: str, reference: Sequence[np.ndarray], exported: Runtime, probes: Sequence[Probe]) -> dict:
    """Compare an exported model with the one in Keras.

    Args:
        precision: of the export; decides what is tolerated.
        reference: probabilities of Keras for each probe, `(slices, height, width, regions)`.
        exported: the model, as a user runs it.
        probes: cases.

    Returns:
        max_difference and p999_difference (99.9th percentile) of probability, dice_between (mean over slices of the
        masks of both; two empty ones count 1), dice_change (mean Dice against the truth less that of Keras, over
        slices with a truth; none without), slices; judged_by, off_by, tolerance and passed.
    """
    answers = [exported.probability(probe.images, probe.value_range, probe.spacing_mm) for probe in probes]
    differences = np.concatenate(
        [np.abs(ours - theirs).ravel() for ours, theirs in zip(answers, reference, strict=True)]
    )
    rows = [
        row
        for probe, ours, theirs in zip(probes, answers, reference, strict=True)
        for row in _dice_rows(probe, ours, theirs, exported)
    ]
    changes = [change for _, change in rows if change is not None]
    result: dict[str, Any] = {
        "max_difference": float(differences.max()),
        "p999_difference": float(np.percentile(differences, 99.9)),
        "dice_between": float(np.mean([between for between, _ in rows])),
        "dice_change": float(np.mean(changes)) if changes else None,
        "slices": len(rows),
    }
    verdict = _verdict(precision, result)
    return result | verdict | {"passed": verdict["passed"] and bool(np.isfinite(differences).all())}


def _dice_rows(
    probe: Probe, ours: np.ndarray, theirs: np.ndarray, runtime: Runtime
) -> list[tuple[float, float | None]]:
    """Of each slice, Dice between both masks, and what Dice against the truth changes by."""
    model, threshold = runtime.info.recipe.model, runtime.info.threshold
    mine, keras = (label_mask(probability, model, threshold) > 0 for probability in (ours, theirs))
    rows: list[tuple[float, float | None]] = []
    for index in range(len(mine)):
        change = None
        if probe.truth is not None and probe.truth[index].any():
            truth = probe.truth[index] > 0
            change = dice(count(truth, mine[index])) - dice(count(truth, keras[index]))
        rows.append((dice(count(keras[index], mine[index])), change))
    return rows


def _verdict(precision: str, result: dict[str, Any]) -> dict[str, Any]:
    measure, tolerance = TOLERANCES[precision]
    off_by = result[measure]
    if off_by is None:
        # Without a truth, how far the masks are from one another bounds what Dice may change by.
        measure, off_by = "dice_between", 1 - result["dice_between"]
    return {
        "judged_by": measure,
        "off_by": abs(off_by),
        "tolerance": tolerance,
        "passed": bool(abs(off_by) <= tolerance),
    }
