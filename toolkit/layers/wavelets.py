"""Haar wavelets of 2 x 2 pixels as channels, and back: half the resolution, nothing lost.

Fine detail, in which noise shows, is about a tenth as large as brightness. Here all channels are
about as large, without which a network learns brightness first and detail last.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

DETAIL = 8.0  # by which differences are enlarged
# Squared mean of the square roots of absolute values of a standard normal: (2^(1/4) gamma(3/4) / sqrt(pi))^2.
ROOT_MEAN = 0.67598


# Pixels `a b / c d` of a block in: mean, change from left to right, from top to bottom, along the diagonal.
SIGNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32)


def _kernel(scales: tuple[float, float], channels: int) -> np.ndarray:
    """The transform as a convolution that steps by two: `(2, 2, channels, 4 * channels)`, channels kept apart.

    Args:
        scales: of the mean, and of the three differences.
        channels: of the images.
    """
    weights = SIGNS * np.array([scales[0], *(3 * [scales[1]])], np.float32)[:, None]
    kernel = np.einsum("bp,cd->pcbd", weights, np.eye(channels, dtype=np.float32))
    return kernel.reshape(2, 2, channels, 4 * channels)


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
        channels = images.shape[-1]
        kernel = ops.cast(_kernel((0.5, DETAIL / 4), channels), images.dtype)
        offset = np.repeat(np.array([-1, 0, 0, 0], np.float32), channels)
        return ops.conv(images, kernel, strides=2, padding="valid") + ops.cast(offset, images.dtype)

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
        kernel = ops.cast(_kernel((0.5, 1 / DETAIL), wavelets.shape[-1] // 4), wavelets.dtype)
        return ops.conv_transpose(wavelets, kernel, strides=2, padding="valid")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Twice the size, a quarter of the channels."""
        return _shape(input_shape, 0.25, 2)


@keras.saving.register_keras_serializable(package="bts")
class NoiseLevel(keras.layers.Layer):
    """How noisy a slice is, in every place alike: `(batch, height, width, 4 c)` to `(batch, height, width, c)`.

    The standard deviation of white noise on a smooth picture, on the scale of `ToWavelets`, from the mean square root
    of absolute diagonal details: noise is in every detail, edges in a few, and of roots the few count less than of
    the details themselves (Donoho and Johnstone 1994 take the median). A measurement: nothing learns through it.
    """

    def call(self, wavelets: Any) -> Any:
        """The level of each slice and channel, spread over the slice."""
        diagonal = ops.split(wavelets, 4, axis=-1)[3]
        roots = ops.mean(ops.sqrt(ops.abs(diagonal)), axis=(1, 2), keepdims=True)
        return ops.stop_gradient(ops.zeros_like(diagonal) + ops.square(roots) / ROOT_MEAN)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A quarter of the channels."""
        return _shape(input_shape, 0.25, 1)
