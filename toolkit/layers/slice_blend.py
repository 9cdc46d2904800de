"""What is added to a slice: of its own, by how much it is weakened or strengthened, and from its neighbours."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bts")
class SliceBlend(keras.layers.Layer):
    """What is added to slices x for them to be shrunk and blended with their neighbours, place by place:

        a + tanh(g) x[n] + tanh(p) (x[n - 1] - x[n]) + tanh(q) (x[n + 1] - x[n])

    with a, g, p and q for each place, which one convolution can give. To take noise off is to multiply: a wavelet
    coefficient shrinks by a factor that follows from how large it is beside the noise (Wiener), and two of the same
    tissue are averaged. Layers that add learn products slowly. Zeros add nothing. At the ends of the sequence the
    missing neighbour is the slice itself.

    Args:
        n_slices: slices of a window.
        neighbours: 0: none; 1: the slice before; 2: also the one behind.

    Call with terms `(batch * slices, height, width, (2 + neighbours) * c)`, a, g, p and q one after the other, and
    slices `(batch * slices, height, width, c)`; gives the shape of the slices. Where only a range of a window's slices
    is `wanted` (the first of them, and the one behind the last), terms are of those alone, and so is what it gives.
    """

    def __init__(self, n_slices: int, neighbours: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_slices, self.neighbours = n_slices, neighbours

    def call(self, inputs: tuple[Any, Any], wanted: tuple[int, int] | None = None) -> Any:
        """What is to be added to the slices that are wanted."""
        terms, slices = inputs
        first, behind = wanted or (0, self.n_slices)
        added, gates = terms[..., : slices.shape[-1]], ops.tanh(terms[..., slices.shape[-1] :])
        own, *others = ops.split(gates, 1 + self.neighbours, axis=-1)
        sequence = ops.reshape(slices, (-1, self.n_slices, *slices.shape[1:]))
        added = added + own * ops.reshape(sequence[:, first:behind], (-1, *slices.shape[1:]))
        if others:
            steps = self._steps(sequence)
            changes = -steps[:, first:behind], steps[:, first + 1 : behind + 1]
            for gate, change in zip(others, changes, strict=False):
                added = added + gate * ops.reshape(change, (-1, *slices.shape[1:]))
        return added

    def _steps(self, sequence: Any) -> Any:
        """Differences from the slice before, from the second on, with nothing at either end."""
        return ops.pad(sequence[:, 1:] - sequence[:, :-1], ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))

    def compute_output_spec(self, inputs: tuple[Any, Any], wanted: tuple[int, int] | None = None) -> keras.KerasTensor:
        """Slices as many as there are terms."""
        terms, slices = inputs
        return keras.KerasTensor((terms.shape[0], *slices.shape[1:]), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "n_slices": self.n_slices, "neighbours": self.neighbours}
