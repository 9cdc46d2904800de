"""The metric watched during training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def picture_dice(truth, probability):
    """Dice of each slice's mask (probability >= 0.5) at the model's size.

    Dice is `2 |A and B| / (|A| + |B|)`, and 1 where both are empty; mean over classes.

    Args:
        truth: `(batch, slices, height, width, classes)`, 0 or 1.
        probability: the same shape.

    Returns:
        `(batch, slices)`.
    """
    truth = ops.cast(truth, "float32")
    mask = ops.cast(probability >= 0.5, "float32")
    overlap = ops.sum(truth * mask, axis=(2, 3))
    total = ops.sum(truth, axis=(2, 3)) + ops.sum(mask, axis=(2, 3))
    dice = ops.where(total > 0, 2.0 * overlap / ops.maximum(total, 1.0), 1.0)
    return ops.mean(dice, axis=-1)


@keras.saving.register_keras_serializable(package="bts")
class PictureDice(keras.metrics.MeanMetricWrapper):
    """Mean of `picture_dice` over the slices that count (sample weight 1)."""

    def __init__(self, name: str = "dice", dtype: Any = None) -> None:
        super().__init__(picture_dice, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {"name": self.name, "dtype": self.dtype}
