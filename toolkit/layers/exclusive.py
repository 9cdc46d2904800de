"""Softmax over regions and background."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bts")
class ExclusiveProbability(keras.layers.Layer):
    """Probability of each region where a pixel is in one of them or in none.

    `exp(l_k) / (1 + sum exp(l_j))`: a softmax in which the background has a logit of 0 and
    no channel. Of one region it is the sigmoid.
    """

    def call(self, logits):
        """Logits `(..., regions)` to probabilities of the same shape."""
        background = ops.zeros_like(logits[..., :1])
        return ops.softmax(ops.concatenate([background, logits], axis=-1), axis=-1)[..., 1:]

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape
