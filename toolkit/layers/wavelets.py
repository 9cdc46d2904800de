"""Haar wavelets of 2 x 2 pixels as channels, and back: half the resolution, nothing lost.

Fine detail, in which noise shows, is about a tenth as large as brightness. Here all channels are
about as large, without which a network learns brightness first and detail last.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

DETAIL = 8.0  # by which differences are enlarged
# Of the mean absolute diagonal detail of white noise, the standard deviation is sqrt(pi / 2) times as large.
NOISE_FACTOR = 1.2533


def _shape(input_shape: tuple[int | None, ...], channels: float, size: float) -> tuple[int | None, ...]:
    batch, *plane = input_shape
    height, width, old = (int(n) for n in plane if n is not None)
    return (batch, int(height * size), int(width * size), int(old * channels))


@keras.saving.register_keras_serializable(package="bts")
class ToWavelets(keras.layers.Layer):
    """`(batch, height, width, c)` to `(batch, height / 2, width / 2, 4 c)`.

    For each block `a b / c d` of pixels: its mean, brought from 0-1 to -1-1, then its differences from left to
    right, from top to bottom, and along the diagonal, enlarged; in each of the four, channels as they were.
    """

    def call(self, images: Any) -> Any:
        """Haar transform of each block."""
        _, height, width, channels = images.shape
        blocks = ops.reshape(images, (-1, height // 2, 2, width // 2, 2, channels))
        left, right = ops.split(blocks, 2, axis=4)
        (a, c), (b, d) = (ops.split(ops.squeeze(side, 4), 2, axis=2) for side in (left, right))
        # Sums of two at a time: a tensor read three times or more has its gradients added in an order that
        # TensorFlow leaves to chance, and a seed would not give the same run twice.
        above, below, above_change, below_change = a + b, c + d, a - b, c - d
        mean = (above + below) / 2 - 1
        details = [above_change + below_change, above - below, above_change - below_change]
        joined = ops.concatenate([mean, *(DETAIL / 4 * detail for detail in details)], axis=-1)
        return ops.squeeze(joined, 2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Half the size, four times the channels."""
        return _shape(input_shape, 4, 0.5)


@keras.saving.register_keras_serializable(package="bts")
class FromWavelets(keras.layers.Layer):
    """What has to be added to pixels for something to be added to their wavelets; the inverse but for the mean's -1.

    `(batch, height, width, 4 c)` to `(batch, 2 height, 2 width, c)`.
    """

    def call(self, wavelets: Any) -> Any:
        """Inverse Haar transform of each block."""
        _, height, width, channels = wavelets.shape
        mean, *details = ops.split(wavelets, 4, axis=-1)
        mean = mean / 2
        across, down, diagonal = (detail / DETAIL for detail in details)
        # Sums of two at a time, as above.
        above, below, above_change, below_change = mean + down, mean - down, across + diagonal, across - diagonal
        pixels = [above + above_change, above - above_change, below + below_change, below - below_change]
        blocks = ops.reshape(ops.concatenate(pixels, axis=-1), (-1, height, width, 2, 2, channels // 4))
        turned = ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
        return ops.reshape(turned, (-1, 2 * height, 2 * width, channels // 4))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Twice the size, a quarter of the channels."""
        return _shape(input_shape, 0.25, 2)


@keras.saving.register_keras_serializable(package="bts")
class NoiseLevel(keras.layers.Layer):
    """How noisy a slice is, in every place alike: `(batch, height, width, 4 c)` to `(batch, height, width, c)`.

    `sqrt(pi / 2)` times the mean absolute diagonal detail, which is the standard deviation of white noise on a
    smooth picture (Donoho and Johnstone 1994 take the median), on the scale of `ToWavelets`.
    """

    def call(self, wavelets: Any) -> Any:
        """The level of each slice and channel, spread over the slice."""
        diagonal = ops.split(wavelets, 4, axis=-1)[3]
        level = NOISE_FACTOR * ops.mean(ops.abs(diagonal), axis=(1, 2), keepdims=True)
        return ops.zeros_like(diagonal) + level

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A quarter of the channels."""
        return _shape(input_shape, 0.25, 1)
