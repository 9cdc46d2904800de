"""Attention gate on a skip connection."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="bts")
class AttentionGate(keras.layers.Layer):
    """Additive attention gate (Oktay et al. 2018, eq. 1-2).

    `attention = sigmoid(psi(relu(W_x skip + W_g gating + b)))`; the skip features are
    multiplied by it, so that what the deeper level holds to be irrelevant is dimmed.

    Args:
        filters: channels of the joint space in which skip and gating are added.

    Call with `[skip, gating]`, `(batch, height, width, channels)` each, of the same
    height and width. Returns the gated skip and the attention
    `(batch, height, width, 1)` in 0-1.

    Example:
        gated, attention = AttentionGate(16)([skip, gating])
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        # The gate's own precision, also where a float16 model is loaded into a float32 session.
        dtype = self.dtype_policy
        self.skip_conv = keras.layers.Conv2D(filters, 1, use_bias=False, dtype=dtype, name="skip_conv")
        self.gating_conv = keras.layers.Conv2D(filters, 1, dtype=dtype, name="gating_conv")
        self.psi = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype=dtype, name="psi")

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Build the three 1x1 convolutions."""
        skip, gating = input_shape
        self.skip_conv.build(skip)
        self.gating_conv.build(gating)
        self.psi.build((*skip[:-1], self.filters))

    def call(self, inputs: list[Any]) -> tuple[Any, Any]:
        """Gate the skip features; see the class."""
        skip, gating = inputs
        attention = self.psi(keras.ops.relu(self.skip_conv(skip) + self.gating_conv(gating)))
        return skip * attention, attention

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]):
        """Shapes of the gated skip and of the attention."""
        skip = input_shape[0]
        return skip, (*skip[:-1], 1)

    def get_config(self) -> dict[str, Any]:
        """Config for saving."""
        return {**super().get_config(), "filters": self.filters}
