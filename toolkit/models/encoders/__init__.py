"""Encoders by name: each maps RGB in 0-255 to feature maps at strides 2, 4, 8, 16, 32."""

from __future__ import annotations

from collections.abc import Callable

import keras

from toolkit.models.encoders.efficientnet import efficientnet_b0
from toolkit.models.encoders.efficientnet_lite import efficientnet_lite0

ENCODERS: dict[str, Callable[[int, int, str], keras.Model]] = {
    "efficientnet-b0": efficientnet_b0,
    "efficientnet-lite0": efficientnet_lite0,
}
