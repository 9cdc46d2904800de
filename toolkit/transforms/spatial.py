"""Random spatial change of a window: one draw, applied to image and mask alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from toolkit.config import AugmentationRecipe
from toolkit.data.intensity import HEAD_LEVEL

SQUARES_DRAWN, HEAD_SHARE = 10, 0.5


@dataclass(frozen=True)
class SpatialChange:
    """Where each pixel of the result comes from.

    Every slice of a window moves alike, so neighbours stay neighbours.

    Args:
        x: `(height, width)` float32, source column of each pixel.
        y: `(height, width)` float32, source row of each pixel.
    """

    x: np.ndarray
    y: np.ndarray

    def image(self, images: np.ndarray) -> np.ndarray:
        """Apply to `(slices, height, width, channels)`, bilinear, background 0."""
        return self._remap(images, cv2.INTER_LINEAR)

    def mask(self, masks: np.ndarray) -> np.ndarray:
        """Apply to `(slices, height, width, channels)`, nearest, so values stay what they are."""
        return self._remap(masks, cv2.INTER_NEAREST)

    def _remap(self, images: np.ndarray, interpolation: int) -> np.ndarray:
        return np.stack([cv2.remap(i, self.x, self.y, interpolation) for i in images]).reshape(images.shape)


def draw_spatial(rng: np.random.Generator, recipe: AugmentationRecipe, size: int) -> SpatialChange:
    """Draw rotation, flip, zoom, shift and elastic deformation.

    Args:
        rng: its state decides the change.
        recipe: ranges.
        size: height and width in pixels.
    """
    angle = np.deg2rad(rng.uniform(-1, 1) * recipe.rotation_degrees)
    scale = 1 + rng.uniform(-1, 1) * recipe.zoom
    shift = rng.uniform(-1, 1, 2) * recipe.shift * size
    mirror = -1.0 if recipe.flip and rng.random() < 0.5 else 1.0
    centre = (size - 1) / 2
    row, column = np.mgrid[:size, :size].astype(np.float32) - centre
    x = mirror * (np.cos(angle) * column - np.sin(angle) * row) / scale + shift[0] + centre
    y = (np.sin(angle) * column + np.cos(angle) * row) / scale + shift[1] + centre
    if recipe.elastic_pixels:
        strength = rng.uniform(0, recipe.elastic_pixels) * size / 128
        x, y = x + strength * smooth_field(rng, size), y + strength * smooth_field(rng, size)
    return SpatialChange(x.astype(np.float32), y.astype(np.float32))


def random_square(rng: np.random.Generator, images: np.ndarray, side: int) -> np.ndarray:
    """A square of all slices, half of it inside the head where one of a few draws is.

    Args:
        rng: its state decides which.
        images: `(slices, height, width, modalities)`, normalised.
        side: of the square in pixels, no longer than height and width.

    Returns:
        `(slices, side, side, modalities)`, a view.
    """
    _, height, width, _ = images.shape
    for _ in range(SQUARES_DRAWN):
        top, left = rng.integers(0, (height - side + 1, width - side + 1))
        square = images[:, top : top + side, left : left + side]
        if (square.mean(axis=-1) > HEAD_LEVEL).mean() > HEAD_SHARE:
            break
    return square


def smooth_field(rng: np.random.Generator, size: int, knots: int = 5) -> np.ndarray:
    """Smooth random field `(size, size)` in [-1, 1], from a coarse grid of knots."""
    coarse = rng.uniform(-1, 1, (knots, knots)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), -1, 1)
