"""Initial weights that do not depend on the Keras backend."""

from __future__ import annotations

import keras
import numpy as np


def draw_initial_weights(model: keras.Model, seed: int, keep_encoder: bool) -> None:
    """Draw every random kernel again, in NumPy.

    Each backend of Keras has its own random numbers; with these a seed means the same
    start on TensorFlow and on JAX. Kernels are Glorot uniform (Glorot and Bengio 2010,
    eq. 16); constant starts (biases, norms, the enhancer's zero correction) stay.

    Args:
        model: a built model.
        seed: of the run.
        keep_encoder: leave the encoder's (pre-trained) weights alone.
    """
    rng = np.random.default_rng([seed, 0x1417])
    for variable in model.trainable_variables:
        if keep_encoder and _is_encoder(model, variable):
            continue
        values = np.asarray(variable)
        if values.ndim > 1 and values.any():
            fan_in = int(np.prod(values.shape[:-1]))
            fan_out = int(np.prod((*values.shape[:-2], values.shape[-1])))
            limit = np.sqrt(6 / (fan_in + fan_out))
            variable.assign(rng.uniform(-limit, limit, values.shape).astype("float32"))


def _is_encoder(model: keras.Model, variable: keras.Variable) -> bool:
    return any(variable is weight for weight in model.get_layer("encoder").weights)
