"""A price on changing the image, so that an enhancer trained for the mask alone still gives an image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bts")
class CorrectionCost(keras.layers.Layer):
    """Passes enhanced slices on and adds `weight * mean |enhanced - slices|` to the loss.

    Args:
        weight: of the mean absolute correction, intensities in 0-1.

    Call with `[slices, enhanced]` of the same shape; gives `enhanced`.
    """

    def __init__(self, weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs: list[Any]) -> Any:
        """Book the price."""
        slices, enhanced = (ops.cast(images, "float32") for images in inputs)
        self.add_loss(self.weight * ops.mean(ops.abs(enhanced - slices)))
        return inputs[1]

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """The shape of the enhanced slices."""
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "weight": self.weight}
