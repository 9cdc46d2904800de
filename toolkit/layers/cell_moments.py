"""Brightness and contrast of coarse cells, on a logarithmic scale."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

FLOOR = 0.05  # of the range 0-1: keeps air from being infinitely dark


@keras.saving.register_keras_serializable(package="bts")
class CellMoments(keras.layers.Layer):
    """`(batch, height, width, c)` to `(batch, height / cell, width / cell, 2 c)`: log mean, then log spread.

    A factor on a slice is a sum on this scale, the same in every cell of the head, so what drifts
    between slices is a plain difference.

    Args:
        cell: height and width of a cell in pixels.
    """

    def __init__(self, cell: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell

    def call(self, images: Any) -> Any:
        """Moments of each cell."""
        # Strides are named, as Keras' default for them fails on JAX.
        mean = ops.average_pool(images, self.cell, strides=self.cell, padding="valid")
        square = ops.average_pool(ops.square(images), self.cell, strides=self.cell, padding="valid")
        spread = ops.sqrt(ops.maximum(square - ops.square(mean), 0.0) + FLOOR**2)
        return ops.log(ops.concatenate([ops.maximum(mean, 0.0) + FLOOR, spread], axis=-1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A pixel a cell, two channels for each."""
        batch, height, width, channels = input_shape
        assert height is not None
        assert width is not None
        assert channels is not None
        return (batch, height // self.cell, width // self.cell, 2 * channels)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "cell": self.cell}
