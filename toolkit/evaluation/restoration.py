"""How well slices are restored: known damage, and what is left of it inside the head."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from toolkit.data.intensity import CLIP, HEAD_LEVEL
from toolkit.data.missing_slices import fill_missing
from toolkit.data.windows import windows
from toolkit.evaluation.statistics import bootstrap_interval
from toolkit.transforms.degradation import doubled, ghosted, halved, rician
from toolkit.transforms.spatial import smooth_field

SSIM_SIGMA, SSIM_TRUNCATE = 1.5, 3.5  # windows of 11 x 11 pixels, Wang et al. 2004
C1, C2 = 0.01**2, 0.03**2
NOISE_LEVELS = (0.05, 0.10, 0.15, 0.20, 0.25)
DRIFT, BIAS, GHOSTING = 0.2, 0.3, 0.1
DROPPED_EVERY = 3


class CleanCase(NamedTuple):
    """A case that nothing has damaged yet.

    Args:
        patient: patient group.
        name: of the case, unlike all others.
        images: `(slices, height, width, modalities)`, normalised.
    """

    patient: str
    name: str
    images: np.ndarray


@dataclass(frozen=True)
class Trial:
    """A clean case and what damage made of it.

    Args:
        damage: its kind.
        images: `(slices, height, width, modalities)` float32, damaged.
        judged: `(slices,)` bool, the slices by which a method is judged.
        factors: `(slices,)`, what each slice was multiplied by; ones but for drift.
    """

    damage: str
    images: np.ndarray
    judged: np.ndarray
    factors: np.ndarray


def trials(clean: np.ndarray, seed: int) -> Iterator[Trial]:
    """Every kind of damage alone, at fixed strength: Rician noise at five levels, bias field, drift, ghosts,
    half the resolution, and every third slice missing (filled by linear interpolation).

    Args:
        clean: `(slices, height, width, modalities)`, normalised; height and width even.
        seed: of what is drawn.
    """
    n_slices, size = clean.shape[:2]
    rng = np.random.default_rng([seed, n_slices])
    everywhere, still = np.ones(n_slices, bool), np.ones(n_slices, np.float32)
    for sigma in NOISE_LEVELS:
        yield Trial(f"noise {sigma:.2f}", _clip(rician(rng, clean, sigma)), everywhere, still)
    field = (1 + BIAS * smooth_field(rng, size, knots=3))[None, :, :, None]
    yield Trial(f"bias field {BIAS:.1f}", _clip(clean * field), everywhere, still)
    factors = (1 + DRIFT * rng.uniform(-1, 1, n_slices)).astype(np.float32)
    yield Trial(f"drift {DRIFT:.1f}", _clip(clean * factors[:, None, None, None]), everywhere, factors)
    yield Trial(f"ghosting {GHOSTING:.1f}", _clip(ghosted(clean, GHOSTING, 3, axis=1)), everywhere, still)
    yield Trial("half resolution", _clip(doubled(halved(clean))), everywhere, still)
    missing = np.zeros(n_slices, bool)
    missing[1 : n_slices - 1 : DROPPED_EVERY] = True
    yield Trial("every third slice missing", _clip(fill_missing(clean, missing)), missing, still)


def _clip(images: np.ndarray) -> np.ndarray:
    return np.clip(images, 0, CLIP).astype(np.float32)


def head(clean: np.ndarray) -> np.ndarray:
    """Pixels inside the head: the median of the modalities above a tenth of the range, holes filled slice by slice.

    The median, as there are sequences in which air is grey (a T1 with signed inversion recovery, say).

    Args:
        clean: `(slices, height, width, modalities)`, normalised.

    Returns:
        `(slices, height, width)` bool.
    """
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.median(clean, axis=-1) > HEAD_LEVEL])


def psnr(clean: np.ndarray, restored: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """PSNR of each slice in dB, `-10 log10(mean squared error)` of intensities in 0-1, over pixels inside.

    Args:
        clean: `(slices, height, width, modalities)`, normalised.
        restored: the same shape.
        inside: `(slices, height, width)` bool.

    Returns:
        `(slices,)`; NaN where nothing is inside.
    """
    error = ((clean.astype(np.float64) - restored) ** 2).mean(axis=-1)
    counts = inside.sum(axis=(1, 2))
    means = (error * inside).sum(axis=(1, 2)) / np.where(counts, counts, math.nan)
    return -10 * np.log10(np.maximum(means, 1e-10))


def ssim(clean: np.ndarray, restored: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """SSIM of each slice (Wang et al. 2004, eq. 13; Gaussian windows), mean over pixels inside and modalities.

    Args:
        clean: `(slices, height, width, modalities)`, normalised.
        restored: the same shape.
        inside: `(slices, height, width)` bool.

    Returns:
        `(slices,)`; NaN where nothing is inside.
    """
    a, b = clean.astype(np.float64), restored.astype(np.float64)
    mean_a, mean_b = _smooth(a), _smooth(b)
    variances = _smooth(a * a) - mean_a**2 + _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + C1) * (2 * covariance + C2)) / (
        (mean_a**2 + mean_b**2 + C1) * (variances + C2)
    )
    counts = inside.sum(axis=(1, 2))
    return (similarity.mean(axis=-1) * inside).sum(axis=(1, 2)) / np.where(counts, counts, math.nan)


def _smooth(images: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(images, (0, SSIM_SIGMA, SSIM_SIGMA, 0), truncate=SSIM_TRUNCATE)


def remaining_drift(clean: np.ndarray, restored: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Logarithm of the factor by which each slice still is too bright, its mean over the case taken off.

    The factor is the least-squares one, over pixels inside and all modalities: `sum(r c) / sum(c c)`. A common
    factor of the whole case is no drift between slices.

    Args:
        clean: `(slices, height, width, modalities)`, normalised.
        restored: the same shape.
        inside: `(slices, height, width)` bool.

    Returns:
        `(slices,)`; NaN where nothing is inside.
    """
    weight = inside[..., None]
    products = (restored.astype(np.float64) * clean * weight).sum(axis=(1, 2, 3))
    squares = (clean.astype(np.float64) ** 2 * weight).sum(axis=(1, 2, 3))
    factors = np.log(np.maximum(products, 1e-6) / np.where(squares > 0, squares, math.nan))
    return factors - np.nanmean(factors)


def drift_removed(trial: Trial, clean: np.ndarray, restored: np.ndarray, inside: np.ndarray) -> float:
    """Share of an added drift that is gone: 1 - rms of what remains / rms of what was there, of slices with a head."""
    before, after = (remaining_drift(clean, images, inside) for images in (trial.images, restored))
    return _share_gone(before, after)


def pixels_drift_removed(trial: Trial, clean: np.ndarray, restored: np.ndarray, inside: np.ndarray) -> float:
    """As `drift_removed`, with a slice counting by its pixels inside the head: those near the vertex have few."""
    counts = inside.sum(axis=(1, 2))
    weights = counts / counts.sum()  # 0 where remaining_drift is NaN
    remains = [np.nan_to_num(remaining_drift(clean, images, inside)) for images in (trial.images, restored)]
    before, after = ((values - weights @ values) * np.sqrt(weights) for values in remains)
    return _share_gone(before, after)


def steps_removed(trial: Trial, clean: np.ndarray, restored: np.ndarray, inside: np.ndarray) -> float:
    """As `drift_removed`, of the steps from slice to slice, which is what the eye and a network see of drift."""
    before, after = (remaining_drift(clean, images, inside) for images in (trial.images, restored))
    return _share_gone(np.diff(before), np.diff(after))


def _share_gone(before: np.ndarray, after: np.ndarray) -> float:
    return float(1 - np.sqrt(np.nanmean(after**2) / np.nanmean(before**2)))


DRIFT_MEASURES = (drift_removed, pixels_drift_removed, steps_removed)


def judge_restoration(
    cases: Iterable[CleanCase], methods: Mapping[str, Callable[[Trial], np.ndarray]], seed: int
) -> list[dict[str, Any]]:
    """Damage every case in every way and let each method restore it.

    Args:
        cases: clean.
        methods: name to what makes restored slices of a trial; `damaged`, which leaves them as they are, is added.
        seed: of the damage.

    Returns:
        A row for each judged slice with a head, damage and method: patient, case, slice, damage, method, psnr, ssim;
        and what `DRIFT_MEASURES` say of its case, where the damage is drift.
    """
    rows = []
    for number, (patient, case, clean) in enumerate(cases):
        inside = head(clean)
        for trial in trials(clean, seed + number):
            for name, method in {"damaged": lambda trial: trial.images, **methods}.items():
                restored = method(trial)
                # Of a lone slice there is no drift to see.
                drifts = len(clean) > 1 and bool((trial.factors != 1).any())
                removed = {
                    measure.__name__: measure(trial, clean, restored, inside) if drifts else None
                    for measure in DRIFT_MEASURES
                }
                values = zip(psnr(clean, restored, inside), ssim(clean, restored, inside), strict=True)
                rows += [
                    {
                        "patient": patient,
                        "case": case,
                        "slice": index,
                        "damage": trial.damage,
                        "method": name,
                        "psnr": float(decibels),
                        "ssim": float(similarity),
                        **removed,
                    }
                    for index, (decibels, similarity) in enumerate(values)
                    if trial.judged[index] and not math.isnan(decibels)
                ]
    return rows


def summarise(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Means over slices with 95 % intervals by bootstrap over patients: damage, then method, then measure.

    The drift removed is one number a case; its mean is over cases.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for damage, method in dict.fromkeys((row["damage"], row["method"]) for row in rows):
        chosen = [row for row in rows if (row["damage"], row["method"]) == (damage, method)]
        measures = {name: chosen for name in ("psnr", "ssim")}
        cases = list({row["case"]: row for row in chosen if row["drift_removed"] is not None}.values())
        if cases:
            measures |= {measure.__name__: cases for measure in DRIFT_MEASURES}
        table.setdefault(damage, {})[method] = {
            name: _mean_and_interval([row[name] for row in some], [row["patient"] for row in some], seed)
            for name, some in measures.items()
        }
    return table


def _mean_and_interval(values: list[float], patients: list[str], seed: int) -> dict[str, Any]:
    interval = bootstrap_interval(values, patients, seed)
    known = not math.isnan(interval[0])
    return {"mean": float(np.mean(values)), "confidence_95": list(interval) if known else None}


def restore_by_windows(
    restore: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int, halo: int, shuffled: bool = False
) -> np.ndarray:
    """Restore a case window by window, by the halo rule.

    Args:
        restore: `(1, size, height, width, modalities)` to the same shape.
        images: `(slices, height, width, modalities)`.
        size: slices in a window.
        halo: slices at either side that give context only.
        shuffled: see `toolkit.data.windows.windows`.
    """
    result = np.empty_like(images)
    for window in windows(len(images), size, halo, shuffled):
        restored = restore(images[window.slices][None])[0]
        result[window.slices[window.counts]] = restored[window.counts]
    return result
