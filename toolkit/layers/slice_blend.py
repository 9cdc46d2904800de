"""Each coefficient of a slice weakened or strengthened, and blended with those of its neighbours."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bts")
class SliceBlend(keras.layers.Layer):
    """What is added to slices x for them to be shrunk and blended with their neighbours, place by place:

        tanh(g) x[n] + tanh(p) (x[n - 1] - x[n]) + tanh(q) (x[n + 1] - x[n])

    To take noise off is to multiply: a wavelet coefficient shrinks by a factor that follows from how large it is
    beside the noise (Wiener), and two of the same tissue are averaged. Layers that add learn products slowly. Gates of
    zero add nothing. At the ends of the sequence the missing neighbour is the slice itself.

    Args:
        n_slices: slices of a window.
        neighbours: 0: none; 1: the slice before; 2: also the one behind.

    Call with gates `(batch * slices, height, width, (1 + neighbours) * c)` and slices
    `(batch * slices, height, width, c)`; gives the shape of the slices.
    """

    def __init__(self, n_slices: int, neighbours: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_slices, self.neighbours = n_slices, neighbours

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """What is to be added."""
        gates, slices = inputs
        own, *others = ops.split(ops.tanh(gates), 1 + self.neighbours, axis=-1)
        added = own * slices
        if others:
            steps = self._steps(slices)
            before, behind = (ops.reshape(step, (-1, *slices.shape[1:])) for step in (steps[:, :-1], steps[:, 1:]))
            for gate, change in zip(others, (-before, behind), strict=False):
                added = added + gate * change
        return added

    def _steps(self, slices: Any) -> Any:
        """Differences from the slice before, from the second on, with nothing at either end."""
        sequence = ops.reshape(slices, (-1, self.n_slices, *slices.shape[1:]))
        return ops.pad(sequence[:, 1:] - sequence[:, :-1], ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """That of the slices."""
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "n_slices": self.n_slices, "neighbours": self.neighbours}
