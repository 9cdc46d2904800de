"""Self-attention between the places of a feature map."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

HEADS = 4
WAVELENGTH = 10_000.0


@keras.saving.register_keras_serializable(package="bts")
class PlaceAttention(keras.layers.Layer):
    """Every place looks at every other (Vaswani et al. 2017, eq. 1), four heads, and what it sees is added.

    `x + attention(norm(x) + position)`, with sines and cosines of row and column for the position, so that no
    weight depends on the size.

    Call with `(batch, height, width, channels)`, static height, width and channels, channels a multiple of 4;
    gives the same shape.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Norm and attention over a row of places."""
        height, width, channels = input_shape[1:]
        assert height is not None
        assert width is not None
        assert channels is not None
        dtype = self.dtype_policy
        self.norm = keras.layers.LayerNormalization(dtype=dtype, name="norm")
        self.attention = keras.layers.MultiHeadAttention(HEADS, channels // HEADS, dtype=dtype, name="attention")
        places = (input_shape[0], height * width, channels)
        self.norm.build(places)
        self.attention.build(places, places)
        self.positions = positions(height, width, channels)

    def call(self, inputs: Any) -> Any:
        """Add to each place what it sees."""
        _, height, width, channels = inputs.shape
        places = ops.reshape(inputs, (-1, height * width, channels))
        asked = self.norm(places) + ops.cast(self.positions, self.compute_dtype)
        seen = self.attention(asked, asked)
        return inputs + ops.reshape(seen, (-1, height, width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape


def positions(height: int, width: int, channels: int) -> np.ndarray:
    """Sines and cosines of row (first half of the channels) and column (Vaswani et al. 2017, section 3.5).

    Returns:
        `(1, height * width, channels)` float32.
    """
    row, column = np.mgrid[:height, :width].reshape(2, -1, 1)
    waves = channels // 4
    frequency = WAVELENGTH ** (-np.arange(waves) / max(waves, 1))
    parts = [wave(place * frequency) for place in (row, column) for wave in (np.sin, np.cos)]
    return np.concatenate(parts, axis=-1)[None].astype(np.float32)
