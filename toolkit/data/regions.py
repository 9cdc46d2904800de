"""Labels and regions: what is learned is a region, what lies in a file is a label a pixel.

A region is a set of labels (whole tumour = necrotic core, oedema and enhancing tumour).
Regions may overlap, one channel each, or be exclusive, one softmax over them and background.
"""

from __future__ import annotations

import numpy as np

from toolkit.config import ModelRecipe


def region_masks(labels: np.ndarray, model: ModelRecipe) -> np.ndarray:
    """Membership of every pixel in every region of a recipe.

    Args:
        labels: integers, any shape; 0 is background.
        model: its `regions` are read.

    Returns:
        bool, `(..., regions)`.
    """
    return np.stack([np.isin(labels, values) if values else labels > 0 for values in model.regions.values()], axis=-1)


def tumour_probability(probability: np.ndarray, model: ModelRecipe) -> np.ndarray:
    """Probability that a pixel is in any region.

    Args:
        probability: `(..., regions)`.
        model: exclusive regions add up; of overlapping ones the likeliest counts.
    """
    return probability.sum(axis=-1) if model.exclusive else probability.max(axis=-1)


def label_mask(probability: np.ndarray, model: ModelRecipe, threshold: float) -> np.ndarray:
    """Labels from probabilities.

    Overlapping regions are painted one over the other in the recipe's order, each with its
    own label (`ModelRecipe.painted_labels`), wherever they reach the threshold; of
    exclusive ones the likeliest, wherever they reach it together.

    Args:
        probability: `(..., regions)`.
        model: its regions.
        threshold: from 0 to 1.

    Returns:
        uint8, `(...)`.
    """
    painted = np.array(model.painted_labels, np.uint8)
    if model.exclusive:
        inside = tumour_probability(probability, model) >= threshold
        return np.where(inside, painted[probability.argmax(axis=-1)], np.uint8(0))
    mask = np.zeros(probability.shape[:-1], np.uint8)
    for region, label in enumerate(painted):
        mask[probability[..., region] >= threshold] = label
    return mask
