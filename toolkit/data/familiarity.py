"""How much a scan is like those that a model has learned from, told by how bright its head is.

Brightness says which sequence it is, and that there is a head. It says nothing of tumours: a scan that is like the
others may be marked wrongly all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.data.grid import resize_planes
from toolkit.data.intensity import HEAD_LEVEL, intensity_range, normalise
from toolkit.progress import track
from toolkit.spread import evenly_spread

if TYPE_CHECKING:
    from toolkit.data.store import Span, Store

SIDE = 64  # slices are looked at in so many pixels: what is finer is noise, and sharper in some scans than in others
QUANTILES = np.linspace(0.02, 0.98, 17)
FEATURES = len(QUANTILES) + 1  # of a modality
LEAST_PIXELS = 20
MOST_SLICES = 64  # of a case
MOST_CASES = 200  # from which it is told what training scans are like
# Of the training cases, as many as are called unusual.
UNUSUAL_PERCENT = 5
RIDGE, LEAST_VARIANCE = 1e-2, 1e-4
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Familiarity(BaseModel):
    """What the brightness of training slices is like: a normal distribution.

    Args:
        mean: of each feature of a slice, `FEATURES` for each modality, see `head_brightness`.
        covariance: of the features.
        usual: distance that all training cases but the most unusual twentieth stay below.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[Finite, ...]
    covariance: tuple[tuple[Finite, ...], ...]
    usual: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _square(self) -> Familiarity:
        if any(len(row) != len(self.mean) for row in (*self.covariance, self.covariance)):
            raise ValueError("familiarity: mean and covariance are of different lengths")
        return self

    def unlikeness(
        self, images: np.ndarray, value_range: np.ndarray | None = None, present: Sequence[bool] | None = None
    ) -> float:
        """How unlike the training scans a case is: 1 as the most unusual twentieth of them, more is more unlike.

        Args:
            images: `(slices, height, width, modalities)`, one case, values as stored.
            value_range: `(modalities, 2)` of the case, where it is known already.
            present: `(modalities,)`, which of them the case has; None: all.
        """
        limits = intensity_range(images) if value_range is None else value_range
        return self._distance(case_brightness(images, limits), present) / self.usual

    def _distance(self, features: np.ndarray, present: Sequence[bool] | None) -> float:
        """Mahalanobis distance by the root of the number of features, median over slices; of the modalities present."""
        known = np.repeat(np.ones(len(self.mean) // FEATURES, bool) if present is None else present, FEATURES)
        if not known.any():
            return 0.0
        covariance = np.array(self.covariance)[np.ix_(known, known)]
        apart = (features - np.array(self.mean))[:, known]
        squares = (apart * np.linalg.solve(covariance, apart.T).T).sum(axis=1)
        return float(np.median(np.sqrt(np.maximum(squares, 0) / known.sum())))


def training_familiarity(store: Store, training: list[Span]) -> Familiarity | None:
    """What the training scans are like, told from some hundreds of them; None where none has all modalities."""
    complete = [span for span in training if all(span.case.present)]
    chosen = [complete[index] for index in evenly_spread(len(complete), MOST_CASES)] if complete else []
    features = []
    for span in track(chosen, "Looking at the training scans", len(chosen)):
        images, _ = store.read(span.case, span.start + evenly_spread(span.n_slices, MOST_SLICES))
        features.append(case_brightness(images, np.array(span.case.intensity_range)))
    return fit_familiarity(features) if features else None


def fit_familiarity(features: Sequence[np.ndarray]) -> Familiarity:
    """The distribution of the slices of training cases.

    Args:
        features: of at least one case, each from `case_brightness`.
    """
    every = np.concatenate(features)
    covariance = np.atleast_2d(np.cov(every.T)) if len(every) > 1 else np.zeros((every.shape[1],) * 2)
    covariance = covariance + np.diag(RIDGE * np.diag(covariance) + LEAST_VARIANCE)
    fitted = Familiarity(mean=tuple(every.mean(axis=0)), covariance=tuple(map(tuple, covariance)), usual=1.0)
    distances = [fitted._distance(of_case, None) for of_case in features]
    # Of cases that are all alike the distance is 0, and then any other is unlike.
    usual = max(float(np.percentile(distances, 100 - UNUSUAL_PERCENT)), 1e-3)
    return fitted.model_copy(update={"usual": usual})


def case_brightness(images: np.ndarray, value_range: np.ndarray) -> np.ndarray:
    """`head_brightness` of a case, of at most 64 of its slices, evenly spread.

    Args:
        images: `(slices, height, width, modalities)`, values as stored.
        value_range: `(modalities, 2)` of the case.

    Returns:
        `(slices looked at, 18 * modalities)` float64.
    """
    chosen = evenly_spread(len(images), MOST_SLICES)
    return np.stack([head_brightness(normalise(images[index], value_range)) for index in chosen])


def head_brightness(image: np.ndarray) -> np.ndarray:
    """Features of a slice: of each modality 17 quantiles of what is brighter than air, and how much of it that is.

    Args:
        image: `(height, width, modalities)` float32, normalised.

    Returns:
        `(18 * modalities,)` float64; zeros of a modality that shows next to nothing.
    """
    small = resize_planes(image[None], SIDE, SIDE)[0]
    features = np.zeros((small.shape[2], FEATURES))
    for modality in range(small.shape[2]):
        values = small[..., modality]
        bright = values[values > HEAD_LEVEL]
        if bright.size >= LEAST_PIXELS:
            features[modality] = *np.quantile(bright, QUANTILES), bright.size / values.size
    return features.ravel()
