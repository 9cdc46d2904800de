"""Grad-CAM for segmentation: what in a slice spoke for the tumour that was marked there."""

from __future__ import annotations

import keras
import numpy as np

from toolkit.config import ModelRecipe
from toolkit.errors import ModelError
from toolkit.models.model_file import DEFAULT_THRESHOLD

# The deepest map has 4 x 4 places of a slice of 128 pixels, which no tumour can be told in.
FINEST_STRIDE = 8


class GradCam:
    """Seg-Grad-CAM (Vinogradova, Dibrov and Myers 2020, eq. 1-2), a map for each slice.

    What is explained is the sum of the logits over the pixels that are marked, of every region its own over its own
    pixels. A feature map weighs as much as that sum grows with it, on the mean of its places; the map is what the
    weighted feature maps add up to, where that is above 0. Logits, since a probability near 1 hardly moves. The feature
    maps are the last before the logits that are `FINEST_STRIDE` times as coarse as the slice, or coarser: what skips
    add later has its share in the mask, and none in the map.

    A slice without a marked pixel gets zeros: nothing was marked, so there is nothing to explain. Maps are comparable
    within a model, and have no unit.

    Args:
        model: from `build_segmenter`, also after saving and loading.
        recipe_model: of its recipe; whether regions are exclusive is read.
        threshold: probability from which a pixel is marked.

    Call with enhanced slices `(n, size, size, modalities)` float32. Returns `(n, size, size, 1)` float32, 0 or above.

    Raises:
        ModelError: Keras runs on another backend than TensorFlow.

    Example:
        parts = split_segmenter(model)
        maps = GradCam(model, info.recipe.model, info.threshold)(enhanced_slices)
    """

    def __init__(self, model: keras.Model, recipe_model: ModelRecipe, threshold: float = DEFAULT_THRESHOLD) -> None:
        backend = keras.backend.backend()
        if backend != "tensorflow":
            raise ModelError(f"KERAS_BACKEND={backend}: Grad-CAM needs the TensorFlow backend; run without it")
        import tensorflow as tf

        self._exclusive, self._threshold = recipe_model.exclusive, threshold
        images, logits = model.get_layer("merge_slices").output, model.get_layer("split_slices").input
        self._inside = keras.Model(images, [explained_layer(model).output, logits], name="grad_cam_part")
        self._probability = model.get_layer("probability")
        # Traced once, here, for batches of every length.
        self._maps = tf.function(self._trace).get_concrete_function(tf.TensorSpec(images.shape, tf.float32))

    def __call__(self, enhanced: np.ndarray) -> np.ndarray:
        """Explain slices; see the class."""
        return self._maps(keras.ops.convert_to_tensor(enhanced, "float32")).numpy()

    def _trace(self, enhanced):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            features, logits = self._inside(enhanced, training=False)
            logits = tf.cast(logits, tf.float32)
            marked_logits = tf.reduce_sum(tf.where(self._marked(logits), logits, 0.0))
        # Slices know nothing of each other, so the gradient of the sum over a batch is that of each slice.
        weights = tf.reduce_mean(tape.gradient(marked_logits, features), axis=(1, 2), keepdims=True)
        weighted = tf.cast(weights, tf.float32) * tf.cast(features, tf.float32)
        maps = tf.nn.relu(tf.reduce_sum(weighted, axis=-1, keepdims=True))
        return tf.image.resize(maps, enhanced.shape[1:3], method="bilinear")

    def _marked(self, logits):
        """Which logits count, `(n, size, size, regions)` bool; as `toolkit.data.regions.label_mask` marks."""
        import tensorflow as tf

        probability = self._probability(logits)
        if not self._exclusive:
            return probability >= self._threshold
        inside = tf.reduce_sum(probability, axis=-1, keepdims=True) >= self._threshold
        likeliest = tf.one_hot(tf.argmax(logits, axis=-1), logits.shape[-1], on_value=True, off_value=False)
        return inside & likeliest


def explained_layer(model: keras.Model) -> keras.Layer:
    """The layer whose feature maps `GradCam` weighs: the last of at most 1 / `FINEST_STRIDE` of the slice's side.

    In the U-Nets that is the end of a level of the decoder, in DeepLabv3+ that of its pyramid.

    Args:
        model: from `build_segmenter`.
    """
    images, last = model.get_layer("merge_slices").output, model.get_layer("logits")
    # Of the layers that the logits are made of, those before come first.
    before = [layer for layer in keras.Model(images, last.output).layers if layer is not last]
    side = images.shape[1] // FINEST_STRIDE
    # An encoder and a gate have several outputs.
    return next(
        layer
        for layer in reversed(before)
        if not isinstance(layer.output, list | tuple) and layer.output.shape[1] <= side
    )
