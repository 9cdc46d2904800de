"""How sure a model is: calibrated probability, entropy, and a score that says which case to look at first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.config import ModelRecipe

EVEN_CHANCE = 0.5
IN_QUESTION_FROM = 0.1
"""Raw tumour probability from which a pixel is in question: half of the lowest threshold that is ever tried."""


def calibrated(
    probability: np.ndarray, temperature: float, model: ModelRecipe, offsets: Sequence[float] = ()
) -> np.ndarray:
    """Temperature scaling with an offset: `sigmoid(logit(p) / T + b)` (Platt 1999; Guo et al. 2017, section 4).

    Logits are divided by T, and b is added, before the function that made probabilities of them: the sigmoid of each of
    overlapping regions, which share one b; the softmax over exclusive regions, each with its own, and background, with
    none. Both are `q^(1/T) e^b / sum q^(1/T) e^b` over shares q that add up to 1, which needs no logarithm and so holds
    at 0 and 1. A T above 1 draws probabilities towards even chances; a b below 0 takes from all of them, as a loss that
    weighs tumour more than the rest needs.

    Args:
        probability: `(..., regions)`.
        temperature: T, above 0.
        model: whether regions are exclusive.
        offsets: b; none: 0.

    Returns:
        `(..., regions)`; the input itself at T = 1 and b = 0.
    """
    if temperature == 1 and not any(offsets):
        return probability
    if model.exclusive:
        return _scaled(with_background(probability), temperature, offsets)[..., :-1]
    return _scaled(np.stack([probability, 1 - probability], axis=-1), temperature, offsets)[..., 0]


def predictive_entropy(probability: np.ndarray, model: ModelRecipe) -> np.ndarray:
    """Entropy of what is said of a pixel, in bits: 0 where the model is sure, 1 where it has no idea.

    Args:
        probability: `(slices, height, width, regions)`.
        model: of overlapping regions the largest entropy counts, `-p log2 p - (1-p) log2 (1-p)`; of n exclusive ones it
            is that of regions and background together, divided by log2(n + 1), its largest value.

    Returns:
        `(slices, height, width)` float32, 0 to 1.
    """
    if model.exclusive:
        shares = with_background(probability)
        entropy = _bits(shares).sum(axis=-1) / np.log2(shares.shape[-1])
    else:
        entropy = (_bits(probability) + _bits(1 - probability)).max(axis=-1)
    return np.clip(entropy, 0, 1).astype(np.float32)


def review_score(mask: np.ndarray, tumour_probability: np.ndarray, in_question: np.ndarray) -> float:
    """How much a mask deserves a look: 1 minus the Dice to be expected of it, if probabilities are what they say.

    With the marked pixels M and the probability p of being tumour, a truth drawn pixel by pixel has the expected Dice
    `E[2 |M and truth| / (|M| + |truth|)]`, here the ratio of the expectations, `2 sum_M p / (|M| + sum p)`: close where
    there are many pixels. An empty mask has no such figure: there it is `min(1, highest p / 0.5)`, how near the
    likeliest pixel came to being marked.

    Only marked pixels and those in question have a say, the rest is taken for background: a focal loss leaves 0.01 on
    every pixel of it, which would add up to a second tumour that nobody sees, and calibration does not hold there.

    It knows what the model doubts and nothing else: a tumour that was missed with confidence, or something else that
    was marked with confidence, gets a low score.

    Args:
        mask: labels or bool, of a slice or a whole case; above 0 is tumour.
        tumour_probability: same shape, of being in any region; calibrated (`Predictor.calibrated_tumour`).
        in_question: same shape, bool: where the probability before calibration is `IN_QUESTION_FROM` or more.

    Returns:
        0 to 1; higher: look at this one first.
    """
    marked = mask > 0
    if not marked.any():
        return min(1.0, float(tumour_probability.max()) / EVEN_CHANCE)
    counted = marked | in_question
    shared, expected = (tumour_probability.sum(where=where, dtype=np.float64) for where in (marked, counted))
    return float(1 - 2 * shared / (np.count_nonzero(marked) + expected))


def with_background(probability: np.ndarray) -> np.ndarray:
    """Shares of exclusive regions and, last, of the background: `(..., regions + 1)`."""
    background = np.clip(1 - probability.sum(axis=-1, keepdims=True), 0, 1)
    return np.concatenate([probability, background], axis=-1)


def _scaled(shares: np.ndarray, temperature: float, offsets: Sequence[float]) -> np.ndarray:
    # Of the largest share 1 is left whatever the temperature, so the sum can't become 0.
    powers = (shares / shares.max(axis=-1, keepdims=True)) ** (1 / temperature)
    if offsets:
        powers = powers * np.exp([*offsets, 0.0]).astype(powers.dtype)
    return powers / powers.sum(axis=-1, keepdims=True)


def _bits(shares: np.ndarray) -> np.ndarray:
    """-q log2 q, and its limit 0 at 0."""
    return -shares * np.log2(np.where(shares > 0, shares, 1))
