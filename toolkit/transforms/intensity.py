"""Random intensity change of a window, as scanners differ: gamma, brightness, bias field, noise."""

from __future__ import annotations

import numpy as np

from toolkit.config import AugmentationRecipe
from toolkit.data.intensity import CLIP
from toolkit.transforms.spatial import smooth_field


def change_intensity(rng: np.random.Generator, recipe: AugmentationRecipe, slices: np.ndarray) -> np.ndarray:
    """Draw and apply an intensity change; gamma, brightness and bias field are one for the window.

    Args:
        rng: its state decides the change.
        recipe: ranges.
        slices: `(slices, height, width, modalities)`, normalised.

    Returns:
        The same shape, float32, in [0, 1.5].
    """
    exponent = 1 + rng.uniform(-1, 1) * recipe.gamma
    factor = 1 + rng.uniform(-1, 1) * recipe.brightness
    result = np.maximum(slices, 0) ** exponent * factor
    if recipe.bias_field:
        field = 1 + rng.uniform(0, recipe.bias_field) * smooth_field(rng, slices.shape[1], knots=3)
        result = result * field[None, :, :, None]
    if recipe.noise:
        result = result + rng.normal(0, rng.uniform(0, recipe.noise), slices.shape)
    return np.clip(result, 0, CLIP).astype(np.float32)
