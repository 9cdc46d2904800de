"""Grad-CAM is what its paper's equations say: by hand on a network of two layers, by differences on a real one."""

import cv2
import keras
import numpy as np
import pytest

from tests.small_models import SIZE, awake_segmenter, small_info
from toolkit.errors import ModelError
from toolkit.inference.grad_cam import GradCam, explained_layer
from toolkit.layers.exclusive import ExclusiveProbability
from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.models.model_file import load_model, save_model
from toolkit.models.segmenter import build_segmenter
from toolkit.models.zoo import ZOO

N_SLICES, CHANNELS, SIDE, CELL = 4, 3, 4, 8
LABELS = {"core": [1], "oedema": [2]}
THRESHOLD = 0.4


def slices(n=3, seed=0):
    return np.random.default_rng(seed).random((n, SIZE, SIZE, 1), np.float32)


# --- a network of two layers, whose map can be worked out by hand --------------------------------------------------


def linear_network(exclusive):
    """Means of cells, a matrix, each cell spread over its pixels, another matrix: every step a line of NumPy."""
    rng = np.random.default_rng(4)
    windows = keras.Input((N_SLICES, SIZE, SIZE, 1), name="slices")
    images = MergeSlices(name="merge_slices")(windows)
    cells = keras.layers.AveragePooling2D(CELL)(images)
    mix = keras.layers.Dense(CHANNELS, name="features")
    spread = keras.layers.UpSampling2D(CELL)(mix(cells))
    last = keras.layers.Dense(len(LABELS), name="logits")
    logits = SplitSlices(N_SLICES, name="split_slices")(last(spread))
    activation = ExclusiveProbability if exclusive else lambda **more: keras.layers.Activation("sigmoid", **more)
    probability = activation(dtype="float32", name="probability")(logits)
    model = keras.Model({"slices": windows}, {"probability": probability})
    # Cells are near 0.5; this brings what is mixed of them to both sides of 0.
    kernel = rng.normal(0, 100, (1, CHANNELS))
    mix.set_weights([kernel, rng.normal(0, 1, CHANNELS) - kernel[0] / 2])
    last.set_weights([rng.normal(0, 1, (CHANNELS, len(LABELS))), np.zeros(len(LABELS))])
    return model


def features_and_logits(model, images):
    cells = images.reshape(len(images), SIDE, CELL, SIDE, CELL).astype(np.float64).mean(axis=(2, 4))[..., None]
    kernel, bias = model.get_layer("features").get_weights()
    features = cells @ kernel + bias
    weights, _ = model.get_layer("logits").get_weights()
    return features, features @ weights, weights.astype(np.float64)


def map_by_hand(features, marked, weights):
    """Eq. 1-2 of Vinogradova et al.: d(sum of marked logits)/dA, its mean over places, ReLU of the weighted sum."""
    gradient = CELL**2 * (marked @ weights.T)
    alpha = gradient.mean(axis=(0, 1))
    small = np.maximum(features @ alpha, 0).astype(np.float32)
    return cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("exclusive", [False, True], ids=["overlapping", "exclusive"])
def test_the_map_of_two_layers_is_the_one_worked_out_by_hand(exclusive):
    info = small_info(model={"regions": LABELS, "exclusive": exclusive})
    model, images = linear_network(exclusive), slices()
    maps = GradCam(model, info.recipe.model, THRESHOLD)(images)
    features, logits, weights = features_and_logits(model, images)
    if exclusive:
        odds = np.exp(logits)
        inside = odds.sum(axis=-1) / (1 + odds.sum(axis=-1)) >= THRESHOLD
        marked = inside[..., None] & (logits == logits.max(axis=-1, keepdims=True))
    else:
        marked = 1 / (1 + np.exp(-logits)) >= THRESHOLD
    for region in range(len(LABELS)):
        assert 0 < marked[..., region].mean() < 1, "the case is too simple"
    assert maps.shape == (3, SIZE, SIZE, 1)
    assert maps.dtype == np.float32
    assert maps.max() > 0
    for index, found in enumerate(maps[..., 0]):
        by_hand = map_by_hand(features[index], marked[index], weights)
        np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5 * maps.max())


# --- real networks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def info():
    return small_info(model={"network": "attention_unet"})


@pytest.fixture(scope="module")
def model(info):
    return awake_segmenter(info)


def test_weights_are_the_gradient_that_differences_give(model, info):
    """A float64 twin is cut behind the explained layer, and one channel there is raised and lowered everywhere."""
    keras.config.set_dtype_policy("float64")
    try:
        twin = build_segmenter(info.recipe, 1)
    finally:
        keras.config.set_dtype_policy("float32")
    twin.set_weights(model.get_weights())
    images, cut = slices(1), [*skips_of(twin), explained_layer(twin).output]
    before = keras.Model(twin.get_layer("merge_slices").output, cut)
    *skips, features = (keras.ops.convert_to_numpy(value) for value in before(images))
    behind = keras.Model(cut, twin.get_layer("logits").output)
    marked = keras.ops.convert_to_numpy(behind([*skips, features])) >= 0

    def explained(raised_by):
        return (keras.ops.convert_to_numpy(behind([*skips, features + raised_by])) * marked).sum()

    step, places = 1e-3 * features.max(), features.shape[1] * features.shape[2]
    channels = step * np.eye(features.shape[-1])
    alpha = [(explained(channel) - explained(-channel)) / (2 * step) / places for channel in channels]
    small = np.maximum((features[0] * alpha).sum(axis=-1), 0)
    by_differences = cv2.resize(small.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    found = GradCam(model, info.recipe.model)(images)[0, ..., 0]
    assert found.max() > 0
    np.testing.assert_allclose(found, by_differences, atol=0.02 * found.max())


def skips_of(model):
    """What reaches the logits of an attention U-Net aside from its deepest decoder level: skips of the others."""
    return [model.get_layer(f"down{level}_2_leaky_relu").output for level in range(3)]


def test_a_slice_where_nothing_is_marked_has_nothing_to_explain(model, info):
    images = slices(2)
    assert not GradCam(model, info.recipe.model, threshold=1.0)(images).any()
    assert GradCam(model, info.recipe.model)(images).any()


def test_a_map_depends_on_its_slice_alone_whatever_the_batch(model, info):
    cam, images = GradCam(model, info.recipe.model), slices(5)
    together = cam(images)
    alone = np.concatenate([cam(images[index : index + 1]) for index in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-5 * together.max())


def test_a_loaded_model_gives_the_same_maps(model, info, tmp_path):
    save_model(model, tmp_path / "model.keras", info)
    loaded, loaded_info = load_model(tmp_path / "model.keras")
    images = slices()
    in_memory = GradCam(model, info.recipe.model)(images)
    assert in_memory.any()
    again = GradCam(loaded, loaded_info.recipe.model)(images)
    np.testing.assert_allclose(again, in_memory, rtol=1e-4, atol=1e-5 * in_memory.max())


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [
        ("proposed", "decoder3_dropout", 8),
        ("unet", "up3_2_relu", 8),
        ("attention_unet", "up3_2_relu", 8),
        ("res_attention_unet", "up3_out", 8),
        ("deeplabv3plus", "aspp_dropout", 4),
    ],
)
def test_every_network_has_a_layer_to_explain_behind_its_deepest_one(name, layer, side):
    small = {"filters": 4, "decoder_filters": [8, 8, 4, 4, 4], "encoder_weights": "none", "enhancer": {"kind": "none"}}
    info = small_info(data={"image_size": 64}, model=ZOO[name]["model"] | small)
    explained = explained_layer(build_segmenter(info.recipe, 1))
    assert (explained.name, explained.output.shape[1]) == (layer, side)


def test_another_backend_is_told_so(model, info, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match="KERAS_BACKEND=jax: Grad-CAM needs the TensorFlow backend"):
        GradCam(model, info.recipe.model)
