"""How much brighter each slice is than its neighbours, place by place, on a logarithmic scale."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from toolkit.layers.cell_moments import FLOOR

BLOCK = 4  # pixels in a row whose mean is compared: neighbours are no copies, and noise is halved twice
# A small one finds the peak of the differences, where tissue meets the same tissue; a large one the way to it.
SCALES = (0.1, 0.4)


@keras.saving.register_keras_serializable(package="bts")
class SliceSteps(keras.layers.Layer):
    """`(batch, slices, height, width, c)` to `(batch * slices, height / cell, width / cell, 2 c)` for each side.

    For each block of pixels the logarithm of its brightness less that of the same block one slice before, bent by
    `tanh(step / scale)` so that where anatomy changes it counts no more than a little drift, at two scales; means of
    cells. Then, where asked for, the same to the slice behind. Ends of the sequence have no step.

    A convolutional LSTM could learn to subtract what it remembers, but its state forgets; without these steps
    it hardly learned to tell drift from anatomy.

    Args:
        cell: height and width of a cell in pixels, a multiple of 4.
        both: also the step to the slice behind.
    """

    def __init__(self, cell: int, both: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell, self.both = cell, both

    def call(self, slices: Any) -> Any:
        """Steps of each cell, in float32 also in a float16 run."""
        _, n_slices, height, width, channels = slices.shape
        flat = ops.reshape(ops.cast(slices, "float32"), (-1, height, width, channels))
        blocks = ops.average_pool(flat, BLOCK, strides=BLOCK, padding="valid")
        level = ops.log(ops.maximum(blocks, 0.0) + FLOOR)
        level = ops.reshape(level, (-1, n_slices, *level.shape[1:]))
        step = level[:, 1:] - level[:, :-1]
        cells = self.compute_output_shape(slices.shape)[1:3]
        read = []
        for scale in SCALES:
            bent = ops.pad(ops.tanh(step / scale), ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
            bent = ops.reshape(bent, (-1, *level.shape[2:]))
            bent = ops.average_pool(bent, self.cell // BLOCK, strides=self.cell // BLOCK, padding="valid")
            bent = ops.reshape(bent, (-1, n_slices + 1, *cells, channels))
            read += [bent[:, :-1], bent[:, 1:]] if self.both else [bent[:, :-1]]
        joined = ops.concatenate(read, axis=-1)
        return ops.cast(ops.reshape(joined, (-1, *joined.shape[2:])), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A pixel a cell."""
        _, _, height, width, channels = input_shape
        assert height is not None
        assert width is not None
        assert channels is not None
        sides = 1 + self.both
        return (None, height // self.cell, width // self.cell, len(SCALES) * sides * channels)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "cell": self.cell, "both": self.both}
