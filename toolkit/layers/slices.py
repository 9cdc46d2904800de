"""From windows to single slices and back, as named layers.

`keras.ops.reshape` would do, but it names itself, and two models that share layers then clash.
"""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="bts")
class MergeSlices(keras.layers.Layer):
    """`(batch, slices, height, width, channels)` to `(batch * slices, height, width, channels)`."""

    def call(self, inputs: Any) -> Any:
        """Merge the first two axes."""
        return keras.ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape with batch and slices merged."""
        return (None, *input_shape[2:])


@keras.saving.register_keras_serializable(package="bts")
class SplitSlices(keras.layers.Layer):
    """`(batch * slices, height, width, channels)` to `(batch, slices, height, width, channels)`.

    Args:
        n_slices: slices of a window.
    """

    def __init__(self, n_slices: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_slices = n_slices

    def call(self, inputs: Any) -> Any:
        """Split the first axis."""
        return keras.ops.reshape(inputs, (-1, self.n_slices, *inputs.shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape with the slices an axis of their own."""
        return (None, self.n_slices, *input_shape[1:])

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "n_slices": self.n_slices}
