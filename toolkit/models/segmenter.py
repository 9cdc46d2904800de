"""A whole model: enhancer, then the network that marks the tumour."""

from __future__ import annotations

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
    n_slices, height = slices.shape[1:3]
    outputs = {"probability": model.output["probability"], "enhanced": model.get_layer("enhanced").output}
    gates = [layer for layer in model.layers if layer.name.endswith("_gate")]
    maps = []
    for gate in gates:
        _, attention = gate.output
        factor = height // attention.shape[1]
        resize = keras.layers.UpSampling2D(factor, interpolation="bilinear", name=f"{gate.name}_full_size")
        maps.append(resize(attention))
    if maps:
        mean = keras.layers.Average(name="attention_mean")(maps)
        outputs["attention"] = SplitSlices(n_slices, name="attention")(mean)
    return keras.Model({"slices": slices}, outputs, name="inspector")
