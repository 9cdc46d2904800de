"""All that is asked of a model about one case."""

from __future__ import annotations

import numpy as np

from toolkit.config import ModelRecipe
from toolkit.data.case import Case
from toolkit.data.regions import tumour_probability
from toolkit.inference.answer import Answer
from toolkit.inference.predictor import Predictor

EVEN_CHANCE = 0.5


def examine(predictor: Predictor, case: Case) -> Answer:
    """Ask a model about a case.

    Args:
        predictor: the model.
        case: `images` as stored, `spacing_mm` where known.

    Raises:
        ModelError: the case does not fit the model, or the model can't be run.
        ServerError: the server does not answer.
    """
    probability = predictor.predict(case.images, spacing_mm=case.spacing_mm)
    mask = predictor.mask(probability, case.spacing_mm)
    tumour = predictor.tumour(probability)
    entropy = predictive_entropy(probability, predictor.info.recipe.model)
    return Answer(
        mask=mask,
        highest_probability=tumour.max(axis=(1, 2)),
        review_score=review_score(mask, tumour),
        uncertainty=np.rint(entropy * 255).astype(np.uint8),
    )


def predictive_entropy(probability: np.ndarray, model: ModelRecipe) -> np.ndarray:
    """Entropy of being tumour in bits: 0 where the model is sure, 1 where it has no idea.

    Args:
        probability: `(slices, height, width, regions)`.
        model: whose regions they are.

    Returns:
        `(slices, height, width)` float32.
    """
    tumour = tumour_probability(probability, model)
    shares = np.clip(np.stack([tumour, 1 - tumour]), 0, 1)
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=0)


def review_score(mask: np.ndarray, tumour_probability: np.ndarray) -> float:
    """How much a mask deserves a look: 1 minus the Dice to be expected of it, if probabilities are what they say.

    Of an empty mask it is how near the likeliest pixel came to being marked.

    Args:
        mask: `(slices, height, width)`, above 0 is tumour.
        tumour_probability: the same shape.

    Returns:
        0 to 1; higher: look at this one first.
    """
    marked = mask > 0
    if not marked.any():
        return min(1.0, float(tumour_probability.max()) / EVEN_CHANCE)
    shared = tumour_probability.sum(where=marked, dtype=np.float64)
    return float(1 - 2 * shared / (np.count_nonzero(marked) + tumour_probability.sum(dtype=np.float64)))
