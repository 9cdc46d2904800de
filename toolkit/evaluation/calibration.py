"""Whether probabilities are what they say: reliability, its error, and the scaling of logits that mends it.

Of every case only numbers are kept: pixels are counted in fine bins of their logits, per patient group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from toolkit.components import bounding_box
from toolkit.config import ModelRecipe
from toolkit.data.regions import region_masks, tumour_probability
from toolkit.errors import StoreError
from toolkit.evaluation.statistics import with_intervals
from toolkit.inference.uncertainty import IN_QUESTION_FROM, with_background

PIXEL_RULE = (
    f"in each slice the box around what is tumour, or has a raw tumour probability of {IN_QUESTION_FROM} or more"
)
N_BINS = 15
TEMPERATURES, MOST_OFFSET = (0.05, 20.0), 10.0
N_FOLDS = 5
BOOTSTRAP_SEED = 0

# Differences of logits are kept up to 16, where float32 probabilities reach 1, in 1/32 of one region and in 1/2 of
# several exclusive ones, whose places multiply.
LARGEST_DIFFERENCE = 16
LEVELS_OF_ONE, LEVELS_OF_SEVERAL = 32 * LARGEST_DIFFERENCE + 1, 2 * LARGEST_DIFFERENCE + 1


@dataclass(frozen=True)
class PixelSamples:
    """Pixels that have about the same probability, come from one patient and turned out alike, and how many they are.

    Of overlapping regions a pixel counts once for each, which it is in or not (two outcomes); of n exclusive ones once,
    with n + 1 outcomes. The background is the last outcome.

    Args:
        log_shares: `(rows, outcomes)`, logarithm of each outcome's probability, but for a constant a row.
        outcome: `(rows,)`, what is true.
        pixels: `(rows,)`, how many.
        patient: `(rows,)`, index of the patient group.
        patients: the groups.
    """

    log_shares: np.ndarray
    outcome: np.ndarray
    pixels: np.ndarray
    patient: np.ndarray
    patients: tuple[str, ...]

    def of(self, chosen: np.ndarray) -> PixelSamples:
        """The rows of some patients."""
        rows = np.isin(self.patient, chosen)
        return PixelSamples(
            self.log_shares[rows], self.outcome[rows], self.pixels[rows], self.patient[rows], self.patients
        )


@dataclass(frozen=True)
class PatientSums:
    """What every measure is made of; sums over patients give the measures of them together.

    Args:
        pixels: `(patients,)`.
        nll: `(patients,)`, sum of -log of the probability of what is true.
        brier: `(patients,)`, sum over pixels and regions of (p - y)².
        bins: `(patients, N_BINS, 3)`, in bins of p: how many pixels and regions, sum of p, how many that are true.
    """

    pixels: np.ndarray
    nll: np.ndarray
    brier: np.ndarray
    bins: np.ndarray


class PixelCounter:
    """Counts the pixels of cases, added one at a time.

    Which pixels count is the same for fitting and measuring. Nearly all of a picture is background far from anything,
    of which any model is sure: with it every model looks calibrated. As Mehrtash et al. 2020 ("Confidence Calibration
    and Predictive Uncertainty Estimation for Deep Medical Image Segmentation") do, a box around the foreground counts.
    Ours (`PIXEL_RULE`) holds what the model takes for tumour, too, so that marks where there is none count. It goes by
    the probability before calibration, so both sides of a comparison have the same pixels.

    Args:
        model: the regions.
    """

    def __init__(self, model: ModelRecipe) -> None:
        self._model = model
        self._outcomes = len(model.regions) + 1 if model.exclusive else 2
        # The code of a place must fit 63 bits, of however many regions.
        fits = int((2**62 / self._outcomes) ** (1 / self._outcomes))
        self._levels = LEVELS_OF_ONE if self._outcomes == 2 else min(LEVELS_OF_SEVERAL, fits)
        # Of each patient group: codes that occur, and how many pixels have them.
        self._counted: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, probability: np.ndarray, truth: np.ndarray, patient_group: str) -> None:
        """Count a case.

        Args:
            probability: `(slices, height, width, regions)`, as the network gives it.
            truth: `(slices, height, width)` labels.
            patient_group: who it is of.
        """
        counts = [self._counted[patient_group]] if patient_group in self._counted else []
        for plane, labels in zip(probability, truth, strict=True):
            inside = region_masks(labels, self._model)
            box = bounding_box(inside.any(axis=-1) | (tumour_probability(plane, self._model) >= IN_QUESTION_FROM))
            codes = self._codes(plane[box].reshape(-1, plane.shape[-1]), inside[box].reshape(-1, plane.shape[-1]))
            counts.append(np.unique(codes, return_counts=True))
        all_codes, pixels = map(np.concatenate, zip(*counts, strict=True))
        codes, place = np.unique(all_codes, return_inverse=True)
        self._counted[patient_group] = codes, np.bincount(place, pixels, len(codes)).astype(np.int64)

    def samples(self) -> PixelSamples:
        """All pixels counted so far."""
        all_codes, all_pixels = zip(*self._counted.values(), strict=True)
        codes, pixels = np.concatenate(all_codes), np.concatenate(all_pixels)
        patient = np.repeat(np.arange(len(all_codes)), [len(one) for one in all_codes])
        *levels, outcome = np.unravel_index(codes, self._shape)
        log_shares = np.stack(levels, axis=-1) * (-LARGEST_DIFFERENCE / (self._levels - 1))
        return PixelSamples(log_shares, outcome, pixels, patient, tuple(self._counted))

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self._levels,) * self._outcomes + (self._outcomes,)

    def _codes(self, probability: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """A number for each pixel (and each of overlapping regions): what is said and what is true."""
        if self._model.exclusive:
            shares = with_background(probability)
            outcome = np.where(inside.any(axis=-1), inside.argmax(axis=-1), inside.shape[-1])
        else:
            shares = np.stack([probability.ravel(), 1 - probability.ravel()], axis=-1)
            outcome = (~inside.ravel()).astype(np.int64)
        below = -np.log(np.maximum(shares / shares.max(axis=-1, keepdims=True), np.exp(-LARGEST_DIFFERENCE)))
        levels = np.rint(below * ((self._levels - 1) / LARGEST_DIFFERENCE)).astype(np.int64)
        return np.ravel_multi_index((*levels.T, outcome), self._shape)


class Scaling(NamedTuple):
    """What makes probabilities those they should be, see `toolkit.inference.uncertainty.calibrated`.

    Args:
        temperature: T; or `(patients,)`, one for each.
        offsets: b, `(outcomes - 1,)`; or `(patients, outcomes - 1)`.
    """

    temperature: Any
    offsets: np.ndarray


def fit_scaling(samples: PixelSamples) -> Scaling:
    """Temperature and offsets with the least negative log-likelihood, every pixel with one vote.

    It has one minimum: it is convex in 1/T and b. A temperature alone (Guo et al. 2017) can't mend what a loss does
    that weighs tumour more than the rest: such a model says too much at every probability.

    Raises:
        StoreError: all pixels turned out alike, from which nothing can be learned.
    """
    if len(np.unique(samples.outcome)) < 2:
        raise StoreError("validation patients: too few with a tumour to calibrate on; prepare a store of more")
    logits, weights = samples.log_shares, samples.pixels / samples.pixels.sum()
    true = samples.outcome[:, np.newaxis] == np.arange(logits.shape[1])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_q = log_softmax(parameters[0] * logits + np.append(parameters[1:], 0), axis=-1)
        slope = weights[:, np.newaxis] * (np.exp(log_q) - true)
        return float(-(weights @ _of_truth(log_q, samples))), np.append(
            (slope * logits).sum(), slope[:, :-1].sum(axis=0)
        )

    coldest, hottest = TEMPERATURES
    n = logits.shape[1] - 1
    bounds = [(1 / hottest, 1 / coldest), *[(-MOST_OFFSET, MOST_OFFSET)] * n]
    found = minimize(loss, np.array([1.0, *[0.0] * n]), jac=True, method="L-BFGS-B", bounds=bounds)
    return Scaling(float(1 / found.x[0]), found.x[1:])


def cross_fitted(samples: PixelSamples) -> Scaling | None:
    """For every patient what the others give: patients are drawn into 5 groups, each left out once.

    Returns:
        Arrays of one row a patient; None of fewer than two patients.

    Raises:
        StoreError: no tumour is left without one of the groups.
    """
    n = len(samples.patients)
    if n < 2:
        return None
    # By name, so that the order in which a store is read does not matter.
    order = np.argsort(samples.patients)[np.random.default_rng(BOOTSTRAP_SEED).permutation(n)]
    result = Scaling(np.empty(n), np.empty((n, samples.log_shares.shape[1] - 1)))
    for fold in range(min(N_FOLDS, n)):
        left_out = order[fold::N_FOLDS]
        result.temperature[left_out], result.offsets[left_out] = fit_scaling(samples.of(np.setdiff1d(order, left_out)))
    return result


def patient_sums(
    samples: PixelSamples, temperature: float | np.ndarray, offsets: float | Sequence[float] | np.ndarray = 0.0
) -> PatientSums:
    """What the measures are made of, after scaling.

    Args:
        samples: counted pixels.
        temperature: one, or `(patients,)` one for each.
        offsets: 0, `(outcomes - 1,)`, or `(patients, outcomes - 1)`.
    """
    n_patients, outcomes = len(samples.patients), samples.log_shares.shape[1]
    of_row = np.broadcast_to(np.asarray(temperature, float), n_patients)[samples.patient]
    added = np.broadcast_to(np.asarray(offsets, float), (n_patients, outcomes - 1))[samples.patient]
    logits = samples.log_shares / of_row[:, np.newaxis] + np.pad(added, ((0, 0), (0, 1)))
    log_q = log_softmax(logits, axis=-1)
    p = np.exp(log_q[:, :-1])
    true = samples.outcome[:, np.newaxis] == np.arange(p.shape[1])
    pixels = samples.pixels[:, np.newaxis]
    place = samples.patient[:, np.newaxis] * N_BINS + np.minimum((p * N_BINS).astype(int), N_BINS - 1)
    bins = [
        np.bincount(place.ravel(), (pixels * part).ravel(), n_patients * N_BINS) for part in (np.ones_like(p), p, true)
    ]

    def of_patients(values: np.ndarray) -> np.ndarray:
        return np.bincount(samples.patient, values, n_patients)

    return PatientSums(
        of_patients(samples.pixels),
        of_patients(-samples.pixels * _of_truth(log_q, samples)),
        of_patients((pixels * (p - true) ** 2).sum(axis=1)),
        np.stack(bins, axis=-1).reshape(n_patients, N_BINS, 3),
    )


def measured(sums: PatientSums) -> dict[str, Any]:
    """`ece`, `nll` and `brier`, and as `NAME_95` its 95 % interval by bootstrap over patients; None where not defined.

    - `ece`: expected calibration error (Naeini et al. 2015), sum over 15 bins of p, equally wide, of the bin's share of
      all pixels and regions times |share that is true - mean p|. p is the probability of a region, not, as in Guo et
      al., that of the likeliest outcome.
    - `nll`: mean negative log-likelihood, in nats.
    - `brier`: mean over pixels and regions of (p - y)² (Brier 1950).
    """
    return with_intervals(lambda draws: _measures(sums, draws), len(sums.pixels), BOOTSTRAP_SEED)


def described(sums: PatientSums) -> dict[str, Any]:
    """`measured`, and by which rule on how many pixels, as metrics.json holds it."""
    return measured(sums) | {"pixel_rule": PIXEL_RULE, "n_pixels": int(sums.pixels.sum()), "n_bins": N_BINS}


def difference(after: PatientSums, before: PatientSums) -> dict[str, Any]:
    """After minus before of the same patients, with intervals, as `measured`."""

    def both(draws: np.ndarray) -> dict[str, np.ndarray]:
        values, others = _measures(after, draws), _measures(before, draws)
        return {name: values[name] - others[name] for name in values}

    return with_intervals(both, len(before.pixels), BOOTSTRAP_SEED)


def reliability(sums: PatientSums) -> list[dict[str, Any]]:
    """A row for each bin of p: `low`, `high`, `pixels`, `mean_probability`, `share_true`; None where it is empty."""
    edges = np.linspace(0, 1, N_BINS + 1)
    return [
        {
            "low": float(low),
            "high": float(high),
            "pixels": int(pixels),
            "mean_probability": float(p / pixels) if pixels else None,
            "share_true": float(true / pixels) if pixels else None,
        }
        for low, high, (pixels, p, true) in zip(edges[:-1], edges[1:], sums.bins.sum(axis=0), strict=True)
    ]


def _of_truth(log_q: np.ndarray, samples: PixelSamples) -> np.ndarray:
    return np.take_along_axis(log_q, samples.outcome[:, np.newaxis], axis=-1)[:, 0]


def _measures(sums: PatientSums, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Each measure `(draws,)`, where draws `(draws, patients)` says how often each patient counts."""
    bins = np.tensordot(draws, sums.bins, axes=1)
    counted = bins[..., 0].sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return {
            "ece": np.abs(bins[..., 2] - bins[..., 1]).sum(axis=-1) / counted,
            "nll": (draws @ sums.nll) / (draws @ sums.pixels),
            "brier": (draws @ sums.brier) / counted,
        }
