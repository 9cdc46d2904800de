"""Segmentation losses, one value a slice, in backend-neutral Keras.

All take truth and probability `(batch, slices, height, width, classes)` and give
`(batch, slices)`, so that a slice can be weighed or left out. Sums are in float32: a
float16 sum of 512 x 512 ones is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

SMOOTH = 1.0
PIXELS = (2, 3)


def dice_loss(truth, probability, class_weights: Sequence[float] | None = None):
    """Soft Dice loss of every slice (Milletari et al. 2016, with sums instead of squares).

    `1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)` for each class. The 1 in numerator and
    denominator gives an empty slice a loss of 0 for an empty answer, and a gradient.
    """
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    overlap = ops.sum(truth * probability, axis=PIXELS)
    total = ops.sum(truth, axis=PIXELS) + ops.sum(probability, axis=PIXELS)
    return _class_mean(1.0 - (2.0 * overlap + SMOOTH) / (total + SMOOTH), class_weights)


def focal_loss(
    truth, probability, gamma: float = 2.0, alpha: float = 0.75, class_weights: Sequence[float] | None = None
):
    """Mean focal loss of every slice (Lin et al. 2017, eq. 5).

    `-alpha_t (1 - p_t)^gamma log(p_t)`, where `p_t` is the probability of what is true and
    `alpha_t` is alpha on tumour and 1 - alpha elsewhere; mean over pixels.
    """
    truth = ops.cast(truth, "float32")
    probability = ops.clip(ops.cast(probability, "float32"), 1e-6, 1.0 - 1e-6)
    p_true = truth * probability + (1.0 - truth) * (1.0 - probability)
    alpha_true = truth * alpha + (1.0 - truth) * (1.0 - alpha)
    values = -alpha_true * ops.power(1.0 - p_true, gamma) * ops.log(p_true)
    return _class_mean(ops.mean(values, axis=PIXELS), class_weights)


def _class_mean(values, class_weights: Sequence[float] | None):
    if class_weights is None:
        return ops.mean(values, axis=-1)
    weights = ops.convert_to_tensor(list(class_weights), dtype="float32")
    return ops.sum(values * weights, axis=-1) / ops.sum(weights)


@keras.saving.register_keras_serializable(package="bts")
class DiceFocalLoss(keras.losses.Loss):
    """Weighted sum of `dice_loss` and `focal_loss`, mean over the slices that weigh.

    Args:
        dice: weight of the Dice part.
        focal: weight of the focal part.
        gamma: focusing exponent.
        alpha: weight of tumour pixels in the focal part, 0-1.
        class_weights: one for each region, or None for all alike.

    Example:
        model.compile("adamw", loss={"probability": DiceFocalLoss(focal=5.0)})
    """

    def __init__(
        self,
        dice: float = 1.0,
        focal: float = 1.0,
        gamma: float = 2.0,
        alpha: float = 0.75,
        class_weights: Sequence[float] | None = None,
        name: str = "dice_focal",
        reduction: str = "mean_with_sample_weight",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.dice, self.focal, self.gamma, self.alpha = dice, focal, gamma, alpha
        self.class_weights = class_weights

    def call(self, y_true, y_pred):
        """Loss of each slice, `(batch, slices)`."""
        loss = 0.0
        if self.dice:
            loss += self.dice * dice_loss(y_true, y_pred, self.class_weights)
        if self.focal:
            loss += self.focal * focal_loss(y_true, y_pred, self.gamma, self.alpha, self.class_weights)
        return loss

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        own = {name: getattr(self, name) for name in ("dice", "focal", "gamma", "alpha", "class_weights")}
        return {**super().get_config(), **own}
