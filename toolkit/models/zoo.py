"""Models by name: what each changes in a recipe, what it costs, and where its weights start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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
LISTED_SIZE = 128


class Entry(NamedTuple):
    """A line of `bts-train --list-models`.

    Args:
        name: of the model; none: an encoder alone.
        encoder: none: the model has none.
        parameters: trained or not.
        gflops: 10^9 floating-point operations a slice (see `toolkit.models.cost`).
        start: where its weights come from.
        licence: of those weights; none: they are random.
    """

    name: str | None
    encoder: str | None
    parameters: int
    gflops: float
    start: str
    licence: str | None


def list_models() -> Iterator[Entry]:
    """Every model of the zoo with its own encoder, at 128 x 128 pixels and one modality."""
    for name in ZOO:
        yield describe_model(name)


def list_encoders() -> Iterator[Entry]:
    """Every encoder alone, at 128 x 128 pixels."""
    from toolkit.models.cost import count_flops
    from toolkit.models.encoders import ENCODERS

    for name, build in ENCODERS.items():
        encoder = build(LISTED_SIZE, LISTED_SIZE, "none")
        yield Entry(None, name, encoder.count_params(), count_flops(encoder) / 1e9, *_imagenet(name))


def describe_model(name: str, encoder: str | None = None) -> Entry:
    """One model of the zoo at 128 x 128 pixels and one modality; built for it without pre-trained weights.

    Args:
        name: in `ZOO`.
        encoder: instead of the one a recipe has by default; not read by a network without one.
    """
    from toolkit.config import check_recipe
    from toolkit.models.cost import count_flops
    from toolkit.models.networks import WITH_ENCODER
    from toolkit.models.segmenter import build_segmenter

    changes = ZOO[name]["model"] | ({"encoder": encoder} if encoder else {})
    usual = check_recipe({"model": changes}, name).model
    data = {"image_size": LISTED_SIZE}
    recipe = check_recipe({"data": data, "model": {**changes, "encoder_weights": "none"}}, name)
    model = build_segmenter(recipe, modalities=1)
    gflops = count_flops(model) / recipe.data.window.slices / 1e9
    if usual.network in WITH_ENCODER:
        return Entry(name, usual.encoder, model.count_params(), gflops, *_imagenet(usual.encoder))
    return Entry(name, None, model.count_params(), gflops, "random", None)


def _imagenet(encoder: str) -> tuple[str, str]:
    """Where the ImageNet weights of an encoder come from, and their licence."""
    return "ImageNet, by package" if "-lite" in encoder else "ImageNet, by Keras", "Apache-2.0"
