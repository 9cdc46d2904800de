"""A whole model: enhancer, then the network that marks the tumour."""

from __future__ import annotations

from typing import NamedTuple

import keras

from toolkit.config import Recipe
from toolkit.layers.correction_cost import CorrectionCost
from toolkit.layers.exclusive import ExclusiveProbability
from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.models.enhancer import enhance
from toolkit.models.initial_weights import draw_initial_weights
from toolkit.models.networks import NETWORKS, WITH_ENCODER
from toolkit.models.networks.parts import set_rgb_kernel


def build_segmenter(recipe: Recipe, modalities: int) -> keras.Model:
    """Build the core model of a recipe.

    Args:
        recipe: its `model` and `data` sections are read, its seed, and `loss.correction`.
        modalities: channels of a slice.

    Returns:
        Functional model from `{"slices": (batch, S, H, W, modalities)}`, normalised, to
        `{"probability": (batch, S, H, W, regions)}` in float32.

    Raises:
        ModelError: pre-trained weights are not to be had.

    Example:
        model = build_segmenter(load_recipe("tiny"), modalities=1)
    """
    size, n_slices = recipe.data.image_size, recipe.data.window.slices
    slices = keras.Input((n_slices, size, size, modalities), name="slices")
    enhanced = enhance(slices, recipe.model.enhancer)
    if recipe.loss.correction:
        enhanced = CorrectionCost(recipe.loss.correction, name="correction_cost")([slices, enhanced])
    images = MergeSlices(name="merge_slices")(enhanced)
    logits = NETWORKS[recipe.model.network](images, recipe.model)
    logits = SplitSlices(n_slices, name="split_slices")(logits)
    # float32 whatever the compute type: a float16 probability can't be told from 1.
    if recipe.model.exclusive:
        probability = ExclusiveProbability(dtype="float32", name="probability")(logits)
    else:
        probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    model = keras.Model({"slices": slices}, {"probability": probability}, name="segmenter")
    has_encoder = recipe.model.network in WITH_ENCODER
    draw_initial_weights(model, recipe.seed, keep_encoder=has_encoder and recipe.model.encoder_weights != "none")
    if has_encoder:
        set_rgb_kernel(model)
    return model


class SegmenterParts(NamedTuple):
    """The two parts of a segmenter, which share its weights.

    Args:
        enhancer: from windows `(batch, S, H, W, modalities)`, normalised, to enhanced windows of the same shape.
        network: from lone enhanced slices `(n, H, W, modalities)` to `{"probability": (n, H, W, regions)}` and, where
            it has attention gates, `"attention"` `(n, H, W, 1)`: the mean of the gates' maps, brought to full size.
    """

    enhancer: keras.Model
    network: keras.Model


def split_segmenter(model: keras.Model) -> SegmenterParts:
    """Cut a segmenter behind its enhancer.

    What lies behind it looks at each slice alone, so it need not be asked again about the slices that a window holds
    for context only.

    Args:
        model: from `build_segmenter`, also after saving and loading.
    """
    merge, probability = model.get_layer("merge_slices"), model.get_layer("probability")
    images, logits = merge.output, model.get_layer("split_slices").input
    outputs = {"probability": probability(logits)}
    attention = _mean_attention(model)
    if attention is not None:
        outputs["attention"] = attention
    return SegmenterParts(
        keras.Model(model.inputs[0], merge.input, name="segmenter_enhancer"),
        keras.Model(images, outputs, name="segmenter_network"),
    )


def inspector(model: keras.Model) -> keras.Model:
    """The same network, which also tells what happens inside.

    Args:
        model: from `build_segmenter`, also after saving and loading.

    Returns:
        Model with outputs `probability`, `enhanced` `(batch, S, H, W, modalities)` and,
        where it has attention gates, `attention` `(batch, S, H, W, 1)`: the mean of the
        gates' maps, brought to full size.
    """
    slices = model.inputs[0]
    outputs = {"probability": model.output["probability"], "enhanced": model.get_layer("enhanced").output}
    attention = _mean_attention(model)
    if attention is not None:
        outputs["attention"] = SplitSlices(slices.shape[1], name="attention")(attention)
    return keras.Model({"slices": slices}, outputs, name="inspector")


def _mean_attention(model: keras.Model):
    """The mean of the gates' maps of lone slices, `(n, H, W, 1)`; None without gates."""
    height = model.inputs[0].shape[2]
    maps = []
    for gate in (layer for layer in model.layers if layer.name.endswith("_gate")):
        _, attention = gate.output
        factor = height // attention.shape[1]
        maps.append(
            keras.layers.UpSampling2D(factor, interpolation="bilinear", name=f"{gate.name}_full_size")(attention)
        )
    return keras.layers.Average(name="attention_mean")(maps) if maps else None
