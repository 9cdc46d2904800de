"""EfficientNet-B0 of `keras.applications` as an encoder."""

from __future__ import annotations

import keras

from toolkit.errors import ModelError

# Outputs of blocks, not of expansion layers: those are six times as wide and double the step.
FEATURES = ("block1a_project_bn", "block2b_add", "block3b_add", "block5c_add", "block7a_project_bn")


def efficientnet_b0(height: int, width: int, weights: str) -> keras.Model:
    """EfficientNet-B0 (Tan and Le 2019) without its head.

    It holds its own rescaling, so it takes 0-255.

    Args:
        height: of the input, in pixels, a multiple of 32.
        width: of the input, in pixels, a multiple of 32.
        weights: "imagenet" (downloaded by Keras on first use) or "none".

    Returns:
        Model from RGB `(batch, height, width, 3)` in 0-255 to five feature maps at
        strides 2, 4, 8, 16 and 32.

    Raises:
        ModelError: the weights can't be downloaded.
    """
    try:
        base = keras.applications.EfficientNetB0(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=(height, width, 3),
        )
    except Exception as error:  # Keras raises a bare Exception where a download fails
        if weights != "imagenet":
            raise
        raise ModelError(
            "efficientnet-b0: ImageNet weights could not be downloaded; put efficientnetb0_notop.h5 into "
            "~/.keras/models, use efficientnet-lite0 (weights from a package), or set model.encoder_weights=none"
        ) from error
    return keras.Model(base.input, [base.get_layer(name).output for name in FEATURES], name="encoder")
