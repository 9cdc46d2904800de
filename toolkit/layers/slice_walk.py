"""From steps between slices to the level of each slice."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bts")
class SliceWalk(keras.layers.Layer):
    """Sums steps over the slices of a window: `(batch * slices, c)` to `(batch * slices, 1, 1, c)`.

    A network sees from two neighbours how far drift has gone between them, but must add up many such steps to know
    where a slice stands, which a recurrent layer learns slowly. The sum has no say in what is common to all slices.

    Args:
        n_slices: slices of a window.
        centred: levels have mean 0 over the window; else the walk starts at the first step, so that no slice
            depends on those behind it.
    """

    def __init__(self, n_slices: int, centred: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_slices, self.centred = n_slices, centred

    def call(self, steps: Any) -> Any:
        """Level of each slice."""
        channels = steps.shape[-1]
        levels = ops.cumsum(ops.reshape(steps, (-1, self.n_slices, channels)), axis=1)
        if self.centred:
            levels = levels - ops.mean(levels, axis=1, keepdims=True)
        return ops.reshape(levels, (-1, 1, 1, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A pixel a slice, which is added to every place."""
        return (input_shape[0], 1, 1, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "n_slices": self.n_slices, "centred": self.centred}
