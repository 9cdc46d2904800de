"""Convolutional LSTM over a short sequence of slices, both ways at once."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

KERNEL = 3


@keras.saving.register_keras_serializable(package="bts")
class SliceConvLSTM(keras.layers.Layer):
    """Convolutional LSTM (Shi et al. 2015; the gates are equations 1-3 of the paper).

    With `*` for 3 x 3 convolutions, for each slice x in turn:

        i = sigmoid(W_i * [h, x] + b_i)    f = sigmoid(W_f * [h, x] + b_f)
        o = sigmoid(W_o * [h, x] + b_o)    C = f C' + i tanh(W_c * [h, x] + b_c)    h = o tanh(C)

    Weights and arithmetic are those of `keras.layers.ConvLSTM2D`. What depends on x alone is one
    convolution here, for all slices, gates and directions, where Keras has four a slice and
    direction; and steps are written out, which TFLite needs (see benchmarks/enhancer_cost.py).

    Args:
        filters: of each direction.
        bidirectional: also from the last slice to the first; both are concatenated.

    Call with `(batch, slices, height, width, channels)`; gives `(batch, slices, height, width, filters)`, or twice the
    filters. Where only a range of slices is `wanted` (the first of them, and the one behind the last), it gives those
    alone and takes no step that they don't depend on.
    """

    def __init__(self, filters: int, bidirectional: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.bidirectional = filters, bidirectional

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Kernels `(3, 3, in, 4 * filters)` for each direction, gates in Keras' order: i, f, candidate, o."""
        filters = self.filters
        self.directions = []
        for direction in ("forward", "backward")[: 1 + self.bidirectional]:
            kernel = self.add_weight(shape=(KERNEL, KERNEL, input_shape[-1], 4 * filters), name=f"{direction}_kernel")
            recurrent = self.add_weight(shape=(KERNEL, KERNEL, filters, 4 * filters), name=f"{direction}_recurrent")
            bias = self.add_weight(shape=(4 * filters,), initializer="zeros", name=f"{direction}_bias")
            # A forget gate that is open at the start (Jozefowicz et al. 2015), as in Keras.
            bias.assign(ops.concatenate([ops.zeros(filters), ops.ones(filters), ops.zeros(2 * filters)]))
            self.directions.append((kernel, recurrent, bias))

    def call(self, slices: Any, wanted: tuple[int, int] | None = None) -> Any:
        """Hidden states of the slices that are wanted."""
        n_slices, size = slices.shape[1], slices.shape[2:4]
        first, behind = wanted or (0, n_slices)
        kernels = ops.concatenate([kernel for kernel, _, _ in self.directions], axis=-1)
        biases = ops.concatenate([bias for _, _, bias in self.directions])
        flat = ops.reshape(slices, (-1, *slices.shape[2:]))
        of_x = ops.conv(flat, kernels, padding="same") + biases
        of_x = ops.reshape(of_x, (-1, n_slices, *size, of_x.shape[-1]))
        states = []
        for number, gates in enumerate(ops.split(of_x, len(self.directions), axis=-1)):
            steps, recurrent = ops.unstack(gates, axis=1), self.directions[number][1]
            if number:
                steps = self._run(steps[first:][::-1], recurrent)[::-1][: behind - first]
            else:
                steps = self._run(steps[:behind], recurrent)[first:]
            states.append(ops.stack(steps, axis=1))
        return ops.concatenate(states, axis=-1)

    def _run(self, gates_of_x: list[Any], recurrent: Any) -> list[Any]:
        """Hidden state after each step of one direction; the first has none before it."""
        states: list[Any] = []
        cell = None
        for gates in gates_of_x:
            if states:
                gates = gates + ops.conv(states[-1], recurrent, padding="same")
            i, f, candidate, o = ops.split(gates, 4, axis=-1)
            new = ops.sigmoid(i) * ops.tanh(candidate)
            cell = new if cell is None else ops.sigmoid(f) * cell + new
            states.append(ops.sigmoid(o) * ops.tanh(cell))
        return states

    def compute_output_spec(self, slices: Any, wanted: tuple[int, int] | None = None) -> keras.KerasTensor:
        """The wanted slices, with the hidden channels last."""
        batch, n_slices, *plane, _ = slices.shape
        first, behind = wanted or (0, n_slices)
        channels = self.filters * (1 + self.bidirectional)
        return keras.KerasTensor((batch, behind - first, *plane, channels), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "filters": self.filters, "bidirectional": self.bidirectional}
