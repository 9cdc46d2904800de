"""Networks by name: each maps single normalised slices `(batch, height, width, modalities)` to logits of regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.config import ModelRecipe
from toolkit.models.networks.deeplab import deeplabv3plus
from toolkit.models.networks.plain_unet import attention_unet, res_attention_unet, unet
from toolkit.models.networks.proposed import proposed

NETWORKS: dict[str, Callable[[Any, ModelRecipe], Any]] = {
    "proposed": proposed,
    "unet": unet,
    "attention_unet": attention_unet,
    "res_attention_unet": res_attention_unet,
    "deeplabv3plus": deeplabv3plus,
}
# Those behind a pre-trained encoder.
WITH_ENCODER = ("proposed", "deeplabv3plus")
