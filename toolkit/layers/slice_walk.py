"""From steps between slices to how far each slice stands from its neighbours."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# What gates say before they have learned: a step is mostly trusted, and what was added up is mostly kept.
TRUST, KEEP = 1.0, 1.5


@keras.saving.register_keras_serializable(package="bts")
class SliceWalk(keras.layers.Layer):
    """Adds up steps over the slices of a window, forgetting on the way: a linear LSTM cell, both ways.

    A network sees from two neighbours how far drift has gone between them, but must add up many such steps to know
    where a slice stands, which a recurrent layer learns slowly; and steps have errors, which add up, too. With a step
    s of a slice from the one before, and gates t (trust), a, f, g of every slice and modality:

        s'[n] = sigmoid(t[n] + 1) s[n] + a[n]
        F[n] = sigmoid(f[n] + 1.5) F[n - 1] + s'[n]        B[n] = sigmoid(g[n] + 1.5) B[n + 1] + s'[n + 1]

    F is the slice against those before it, B what lies behind it against the slice. Of steps with errors of one
    size, F - B with constant gates is in proportion to the least-squares answer, but for the ends of the sequence.

    Args:
        n_slices: slices of a window.
        both: also B; else no slice depends on those behind it.

    Call with gates `(batch * slices, 4 c)`, or 3 c without B, and what is known of each slice, `(batch * slices, k)`,
    of which the first c are its steps; gives `(batch * slices, 2 c)`, or c.
    """

    def __init__(self, n_slices: int, both: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_slices, self.both = n_slices, both

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """F and B of each slice."""
        gates, known = inputs
        trust, added, *keeps = ops.split(gates, 3 + self.both, axis=-1)
        taken = self._slices(ops.sigmoid(trust + TRUST) * known[:, : trust.shape[-1]] + added)
        sums = [self._added_up(taken, self._slices(ops.sigmoid(keeps[0] + KEEP)))]
        if self.both:
            behind = [*taken[1:], ops.zeros_like(taken[0])]
            kept = self._slices(ops.sigmoid(keeps[1] + KEEP))
            sums.append(self._added_up(behind[::-1], kept[::-1])[::-1])
        walked = ops.concatenate([ops.stack(values, axis=1) for values in sums], axis=-1)
        return ops.reshape(walked, (-1, walked.shape[-1]))

    def _slices(self, values: Any) -> list[Any]:
        return ops.unstack(ops.reshape(values, (-1, self.n_slices, values.shape[-1])), axis=1)

    def _added_up(self, steps: list[Any], kept: list[Any]) -> list[Any]:
        sums = steps[:1]
        for step, keep in zip(steps[1:], kept[1:], strict=True):
            sums.append(keep * sums[-1] + step)
        return sums

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """A sum for each direction and channel."""
        batch, channels = input_shape[0]
        assert channels is not None
        return (batch, channels // (3 + self.both) * (1 + self.both))

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "n_slices": self.n_slices, "both": self.both}
