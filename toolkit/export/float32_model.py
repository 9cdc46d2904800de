"""The float32 twin of a trained model: what every export starts from."""

from __future__ import annotations

from pathlib import Path

import keras

from toolkit.errors import ModelError, UsageError
from toolkit.models.model_file import ModelInfo, load_model
from toolkit.models.segmenter import build_segmenter

FLOAT32 = "float32"


def float32_model(path: Path) -> tuple[keras.Model, ModelInfo]:
    """A trained segmenter that computes in float32, whatever it was trained in.

    Operators of float16 are none of TFLite's built-in ones, and slow on a CPU.

    Args:
        path: `.keras` file.

    Raises:
        ModelError: missing, damaged, or no segmenter that can leave.
        UsageError: Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"KERAS_BACKEND={keras.backend.backend()}: a model leaves by way of TensorFlow; run bts-export without it, "
            "the model file is the same"
        )
    model, info = load_model(path)
    if info.recipe.task == "enhance":
        raise ModelError(f"{path}: is an enhancer and marks no tumours; export the segmenter that was trained with it")
    if info.recipe.data.window.shuffled:
        raise ModelError(f"{path}: was trained on shuffled neighbours, to compare with; such a model is not exported")
    if all(layer.compute_dtype == FLOAT32 for layer in model.layers):
        return model, info
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(FLOAT32)
    try:
        recipe = info.recipe.model_copy(deep=True)
        recipe = recipe.model_copy(
            update={"model": recipe.model.model_copy(update={"encoder_weights": "none", "start": None})}
        )
        twin = build_segmenter(recipe, len(info.modalities))
    finally:
        keras.mixed_precision.set_global_policy(before)
    twin.set_weights(model.get_weights())
    return twin, info
