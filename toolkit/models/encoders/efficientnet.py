"""The EfficientNets of `keras.applications` as encoders."""

from __future__ import annotations

import keras

from toolkit.errors import ModelError

STRIDES = (2, 4, 8, 16, 32)


def efficientnet(name: str, height: int, width: int, weights: str) -> keras.Model:
    """An EfficientNet (Tan and Le 2019; V2: Tan and Le 2021) without its head.

    It holds its own rescaling, so it takes 0-255.

    Args:
        name: such as `EfficientNetB0` or `EfficientNetV2S`.
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
        base = getattr(keras.applications, name)(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=(height, width, 3),
        )
    except Exception as error:  # Keras raises a bare Exception where a download fails
        if weights != "imagenet":
            raise
        raise ModelError(
            f"{name}: ImageNet weights could not be downloaded; put {name.lower().replace('v2', 'v2-')}_notop.h5 into "
            "~/.keras/models, use efficientnet-lite0 (weights from a package), or set model.encoder_weights=none"
        ) from error
    return keras.Model(base.input, _features(base), name="encoder")


def _features(base: keras.Model) -> list:
    """What the last block at each stride gives.

    Outputs of blocks, not of their expansion layers: those are six times as wide and double the step. A block ends
    with its addition, else with its projection, which some of V2 follow with an activation.
    """
    height = base.input.shape[1]
    last = {}
    for layer in base.layers:
        if layer.name.startswith("block") and layer.name.endswith(("_add", "_project_bn", "_project_activation")):
            last[height // layer.output.shape[1]] = layer.output
    return [last[stride] for stride in STRIDES]
