"""Which slices lie on the straight line between their neighbours: missing ones that were filled by interpolation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

GRID = 4  # every fourth row and column says it as well as all do
BEND = 0.02  # of what the neighbours differ by; slices that were taken bend by as much as they differ


@keras.saving.register_keras_serializable(package="bts")
class Interpolated(keras.layers.Layer):
    """1 for a slice that is interpolated from its neighbours, 0 for one that was taken.

    `(batch, slices, height, width, c)` to `(batch * slices, 1, 1, 1)`. With means over a slice's pixels and channels,
    slice n counts as interpolated where

        mean |x[n - 1] - 2 x[n] + x[n + 1]|  <  0.02 mean |x[n + 1] - x[n - 1]|

    so a copy of its neighbours does not, nor the ends of the sequence. Such a slice is blurred and free of noise as no
    taken one is, and a network that is not told sharpens the wrong ones. A measurement: nothing learns through it.
    """

    def call(self, slices: Any) -> Any:
        """The mark of each slice."""
        n_slices = slices.shape[1]
        x = ops.cast(slices, "float32")[:, :, ::GRID, ::GRID]
        if n_slices < 3:  # nothing lies between two others
            return ops.zeros_like(ops.reshape(x[:, :, :1, :1, :1], (-1, 1, 1, 1)), dtype=self.compute_dtype)
        before, own, behind = x[:, :-2], x[:, 1:-1], x[:, 2:]
        bend, change = _mean(before - 2.0 * own + behind), _mean(behind - before)
        marks = ops.cast(bend < BEND * change, self.compute_dtype)
        marks = ops.pad(marks, ((0, 0), (1, 1)))
        return ops.stop_gradient(ops.reshape(marks, (-1, 1, 1, 1)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A number a slice."""
        return (None, 1, 1, 1)


def _mean(differences: Any) -> Any:
    return ops.mean(ops.abs(differences), axis=(2, 3, 4))
