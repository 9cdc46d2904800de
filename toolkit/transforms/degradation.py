"""Damage to clean slices, as scanners and patients do it: what a pre-trained enhancer learns to undo."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from toolkit.config import DegradationRecipe
from toolkit.data.intensity import CLIP
from toolkit.data.missing_slices import fill_missing
from toolkit.transforms.spatial import smooth_field

GHOSTS = (2, 3, 4)
MISSING_SHARE = 0.34
WITHOUT_NOISE = 0.25


class Damaged(NamedTuple):
    """Damaged slices.

    Args:
        slices: `(slices, height, width, modalities)` float32, in [0, 1.5].
        unevenness: `(slices, height, width, 1)` float32, what bias field and drift have multiplied them with.
    """

    slices: np.ndarray
    unevenness: np.ndarray

    @property
    def evened(self) -> np.ndarray:
        """The slices without bias field and drift, but with all else they have suffered."""
        return self.slices / self.unevenness


def degrade(rng: np.random.Generator, recipe: DegradationRecipe, slices: np.ndarray) -> Damaged:
    """Draw which kinds of damage a window suffers, and how much, and apply them.

    In the order in which they come about: coil (bias field), scanner (drift), patient (ghosts),
    a coarse matrix (blur), receiver (noise, of what has been measured: before a coarse matrix is
    interpolated), and slices that were never taken.

    Args:
        rng: its state decides all.
        recipe: ranges.
        slices: `(slices, height, width, modalities)`, normalised and clean; height and width even.
    """
    size, n_slices = slices.shape[1], len(slices)

    def happens(possible: float | bool) -> bool:
        return bool(possible) and rng.random() < recipe.probability

    unevenness = np.ones((*slices.shape[:3], 1), np.float32)
    if happens(recipe.bias_field):
        field = 1 + rng.uniform(0, recipe.bias_field) * smooth_field(rng, size, knots=3)
        unevenness = unevenness * field[None, :, :, None]
    if happens(recipe.drift):
        unevenness = unevenness * drift_factors(rng, recipe.drift, n_slices)[:, None, None, None]
    result: np.ndarray = np.asarray(slices, np.float32) * unevenness
    if happens(recipe.ghosting):
        result = ghosted(result, rng.uniform(0, recipe.ghosting), int(rng.choice(GHOSTS)), axis=int(rng.integers(1, 3)))
    coarse = happens(recipe.blur)
    result = halved(result) if coarse else result
    if recipe.noise:
        # Below zero for WITHOUT_NOISE of all windows: what is clean must stay so.
        result = rician(rng, result, recipe.noise * max(0.0, rng.uniform(-WITHOUT_NOISE / (1 - WITHOUT_NOISE), 1)))
    result = doubled(result) if coarse else result
    if n_slices > 2 and happens(recipe.dropped):
        missing = np.zeros(n_slices, bool)
        missing[1:-1] = rng.random(n_slices - 2) < MISSING_SHARE
        result, unevenness = fill_missing(result, missing), fill_missing(unevenness, missing)
    return Damaged(np.clip(result, 0, CLIP).astype(np.float32), unevenness.astype(np.float32))


def rician(rng: np.random.Generator, images: np.ndarray, sigma: float) -> np.ndarray:
    """Magnitude of a complex signal with Gaussian noise in both parts (Gudbjartsson and Patz 1995, eq. 1)."""
    real, imaginary = rng.normal(0, sigma, (2, *images.shape)).astype(np.float32)
    return np.hypot(images + real, imaginary)


def drift_factors(rng: np.random.Generator, amplitude: float, n_slices: int) -> np.ndarray:
    """A factor for each slice in [1 - amplitude, 1 + amplitude], each on its own or as a smooth curve.

    Returns:
        `(n_slices,)` float32.
    """
    strength = rng.uniform(0, amplitude)
    if rng.random() < 0.5:
        values = rng.uniform(-1, 1, n_slices)
    else:
        values = np.sin(rng.uniform(0, 2 * np.pi) + np.arange(n_slices) * rng.uniform(0.2, 1.2))
    return (1 + strength * values).astype(np.float32)


def ghosted(images: np.ndarray, amplitude: float, ghosts: int, axis: int) -> np.ndarray:
    """Periodic motion: copies shifted along the phase-encoding axis by 1 / ghosts of the field of view.

    Args:
        images: `(slices, height, width, modalities)`.
        amplitude: share of the signal that goes into the copies.
        ghosts: copies lie a whole field of view divided by this apart.
        axis: 1 for rows, 2 for columns.
    """
    shift = images.shape[axis] // ghosts
    copies = (np.roll(images, shift, axis) + np.roll(images, -shift, axis)) / 2
    return (1 - amplitude) * images + amplitude * copies


def halved(images: np.ndarray) -> np.ndarray:
    """Half the resolution in plane: means of 2 x 2 pixels."""
    slices, height, width, channels = images.shape
    return images.reshape(slices, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def doubled(images: np.ndarray) -> np.ndarray:
    """Twice the resolution in plane by cubic interpolation; the corners of the image stay where they are."""
    _, height, width, channels = images.shape
    size = (2 * width, 2 * height)
    planes = [[cv2.resize(i[..., c], size, interpolation=cv2.INTER_CUBIC) for c in range(channels)] for i in images]
    return np.stack([np.stack(plane, axis=-1) for plane in planes])
