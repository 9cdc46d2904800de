"""Modality dropout: what a case without a modality looks like is learned from cases that have it."""

from __future__ import annotations

import numpy as np


def drop_modalities(rng: np.random.Generator, probability: float, slices: np.ndarray) -> np.ndarray:
    """Blank each modality of a window with a probability; at least one stays.

    Args:
        rng: its state decides which.
        probability: of each modality, below 1.
        slices: `(slices, height, width, modalities)`, normalised.

    Returns:
        The same shape; blanked modalities are 0, as those that a case lacks.
    """
    n_modalities = slices.shape[3]
    if not probability or n_modalities == 1:
        return slices
    kept = rng.random(n_modalities) >= probability
    kept[rng.integers(n_modalities)] |= not kept.any()
    return slices * kept.astype(slices.dtype)
