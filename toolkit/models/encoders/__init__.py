"""Encoders by name: each maps RGB in 0-255 to feature maps at strides 2, 4, 8, 16, 32.

Called with height, width and weights ("imagenet" or "none").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras

from toolkit.models.encoders.efficientnet import efficientnet
from toolkit.models.encoders.efficientnet_lite import SCALES, efficientnet_lite

ENCODERS: dict[str, Callable[[int, int, str], keras.Model]] = {
    **{f"efficientnet-lite{number}": partial(efficientnet_lite, number) for number in SCALES},
    **{f"efficientnet-b{number}": partial(efficientnet, f"EfficientNetB{number}") for number in range(8)},
    **{f"efficientnetv2-b{number}": partial(efficientnet, f"EfficientNetV2B{number}") for number in range(4)},
    "efficientnetv2-s": partial(efficientnet, "EfficientNetV2S"),
}
