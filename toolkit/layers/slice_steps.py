"""How much brighter each slice is than its neighbours, where tissue meets the same tissue."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from toolkit.layers.cell_moments import FLOOR

BLOCK = 4  # pixels in a row whose mean is compared: neighbours are no copies, and noise is halved twice
# Of the weights: from wide, which finds the way, to narrow, which sees nothing but the peak.
SCALES = (0.4, 0.2, 0.1, 0.05, 0.05)
TISSUE, SOFTNESS = 0.15, 0.03  # brightness from which a block is tissue, and how sharply
BEND = 0.1
GROUPS = 5  # of channels on either side


@keras.saving.register_keras_serializable(package="bts")
class SliceSteps(keras.layers.Layer):
    """`(batch, slices, height, width, c)` to `(batch * slices, height / cell, width / cell, 5 c)` for each side.

    Blocks of pixels are compared with the same blocks one slice before, as logarithms: `d`. The step of a slice
    and modality is where most differences between tissue and tissue lie, their weighted mean with the weights
    `1 / (1 + (d - step)^2 / s^2)^2` (Geman and McClure 1987), found again for ever smaller s: anatomy that changes
    has no say in it, drift moves all. Channels, each for every modality: the step; the share of tissue that agrees
    with it; the share of the slice that is tissue; and of each cell, how it differs from the step and how much of it
    agrees. Then, where asked for, the same to the slice behind. Ends of the sequence have no step.

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
        """Steps of each cell."""
        _, n_slices, height, width, channels = slices.shape
        sides = 1 + self.both
        if n_slices == 1:
            cells = slices[:, 0, :: self.cell, :: self.cell]
            return ops.zeros_like(ops.repeat(cells, GROUPS * sides, axis=-1))
        flat = ops.reshape(slices, (-1, height, width, channels))
        blocks = ops.average_pool(ops.maximum(flat, 0.0), BLOCK, strides=BLOCK, padding="valid")
        blocks = ops.reshape(blocks, (-1, n_slices, *blocks.shape[1:]))
        level, tissue = ops.log(blocks + FLOOR), ops.sigmoid((blocks - TISSUE) / SOFTNESS)
        differences, common = level[:, 1:] - level[:, :-1], tissue[:, 1:] * tissue[:, :-1]
        step, agreeing = self._agreed(differences, common)
        per_slice = [step, _mean(agreeing) / (_mean(common) + 1e-3), _mean(common)]
        spread = [ops.zeros_like(differences) + values for values in per_slice]
        of_cells = [common * ops.tanh((differences - step) / BEND), agreeing]
        joined = ops.concatenate([self._cells(values) for values in spread + of_cells], axis=-1)
        padded = ops.pad(joined, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        read = ops.concatenate([padded[:, :-1], padded[:, 1:]][:sides], axis=-1)
        return ops.reshape(read, (-1, *read.shape[2:]))

    def _agreed(self, differences: Any, common: Any) -> tuple[Any, Any]:
        """Step of each slice and modality, and how far each block agrees with it."""
        step = _mean(common * differences) / (_mean(common) + 1e-3)
        for scale in SCALES:
            agreeing = common / ops.square(1 + ops.square((differences - step) / scale))
            step = _mean(agreeing * differences) / (_mean(agreeing) + 1e-6)
        return step, agreeing

    def _cells(self, values: Any) -> Any:
        """Means of cells, of values of blocks."""
        _, n_steps, height, width, channels = values.shape
        blocks = self.cell // BLOCK
        flat = ops.reshape(values, (-1, height, width, channels))
        cells = ops.average_pool(flat, blocks, strides=blocks, padding="valid")
        return ops.reshape(cells, (-1, n_steps, *cells.shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A pixel a cell."""
        _, _, height, width, channels = input_shape
        assert height is not None
        assert width is not None
        assert channels is not None
        sides = 1 + self.both
        return (None, height // self.cell, width // self.cell, GROUPS * sides * channels)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "cell": self.cell, "both": self.both}


def _mean(values: Any) -> Any:
    return ops.mean(values, axis=(2, 3), keepdims=True)
