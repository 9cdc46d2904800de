"""Models by name: what each changes in a recipe."""

from __future__ import annotations

from typing import Any

# Table 1 of the paper: what belongs to the network of its baselines. They have no enhancer.
_PLAIN: dict[str, Any] = {"enhancer": {"kind": "none"}, "filters": 24, "dropout": 0.5, "encoder_weights": "none"}

ZOO: dict[str, dict[str, Any]] = {
    "proposed": {"model": {"network": "proposed"}},
    "proposed_self_attention": {"model": {"network": "proposed", "self_attention": True}},
    "unet": {"model": {**_PLAIN, "network": "unet"}},
    "attention_unet": {"model": {**_PLAIN, "network": "attention_unet"}},
    "res_attention_unet": {"model": {**_PLAIN, "network": "res_attention_unet"}},
    "deeplabv3plus": {"model": {"network": "deeplabv3plus", "enhancer": {"kind": "none"}}},
}
