"""The smallest of each network: a logit a pixel, gates where promised, two steps of training, saved and loaded."""

import keras
import numpy as np
import pytest

from toolkit.config import load_recipe
from toolkit.losses import DiceFocalLoss
from toolkit.models.networks import NETWORKS, WITH_ENCODER
from toolkit.models.networks.parts import TUMOUR_PRIOR
from toolkit.models.segmenter import build_segmenter, inspector

SIZE = 32
RNG = np.random.default_rng(0)


def small(network, *overrides):
    names = ("model.network=" + network, "model.filters=2", "model.dropout=0.1", f"data.image_size={SIZE}")
    return load_recipe("tiny", [*names, *overrides])


def slices(modalities=1):
    return RNG.random((1, 4, SIZE, SIZE, modalities)).astype(np.float32)


def predict(model, images):
    return keras.ops.convert_to_numpy(model({"slices": images})["probability"])


@pytest.mark.parametrize("self_attention", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_learns_is_saved_and_loaded(network, self_attention, tmp_path):
    model = build_segmenter(small(network, f"model.self_attention={self_attention}"), 1)
    images, truth = slices(), (slices() > 0.9).astype(np.float32)
    np.testing.assert_allclose(predict(model, images).mean(), TUMOUR_PRIOR, atol=0.03)
    # Not as a graph: to make it takes ten times as long as two steps, and to predict there is one below.
    model.compile(keras.optimizers.AdamW(1e-3), loss={"probability": DiceFocalLoss()}, run_eagerly=True)
    # Constants (norms, biases) may stand still in two steps; what is drawn at random must move.
    kernels = [w for w in model.trainable_variables if w.path.endswith("kernel") and "enhancer" not in w.path]
    before = [np.array(kernel) for kernel in kernels]
    for _ in range(2):
        model.train_on_batch({"slices": images}, {"probability": truth})
    still = [k.path for k, old in zip(kernels, before, strict=True) if np.array_equal(old, np.asarray(k))]
    assert still == []
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_allclose(predict(loaded, images), predict(model, images), atol=1e-6)


# An encoder takes three as they are, and mixes others.
@pytest.mark.parametrize(("network", "modalities"), [*((n, 4) for n in NETWORKS), *((n, 3) for n in WITH_ENCODER)])
def test_more_modalities_and_exclusive_regions(network, modalities):
    regions = ("model.regions={core: [1], oedema: [2]}", "model.exclusive=true")
    probability = predict(build_segmenter(small(network, *regions), modalities), slices(modalities))
    assert probability.shape == (1, 4, SIZE, SIZE, 2)
    assert probability.sum(axis=-1).max() <= 1


@pytest.mark.parametrize(
    ("network", "gates"), [("unet", 0), ("attention_unet", 4), ("res_attention_unet", 4), ("deeplabv3plus", 0)]
)
def test_gates_are_where_the_name_promises_them(network, gates):
    model = build_segmenter(small(network), 1)
    assert sum(layer.name.endswith("_gate") for layer in model.layers) == gates
    outputs = inspector(model).predict_on_batch({"slices": slices()})
    assert ("attention" in outputs) == bool(gates)
    assert all(maps.shape[:4] == (1, 4, SIZE, SIZE) for maps in outputs.values())


def test_only_networks_with_an_encoder_have_one():
    for network in NETWORKS:
        names = [layer.name for layer in build_segmenter(small(network), 1).layers]
        assert ("encoder" in names) == (network in WITH_ENCODER), network


def test_the_unet_is_table_1_to_the_letter():
    recipe = load_recipe("tiny", ["model.network=unet", "model.dropout=0.5", "data.image_size=64"])
    model = build_segmenter(recipe, 1)
    layers = {layer.name: layer for layer in model.layers}
    assert [layers[f"down{level}_1_conv"].filters for level in range(4)] == [24, 48, 96, 192]
    assert [layers[f"up{level}_2_conv"].filters for level in range(4)] == [24, 48, 96, 192]
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [(pool.pool_size, pool.strides) for pool in pools] == [((3, 3), (2, 2))] * 4
    convolutions = [layers[name] for name in layers if name.endswith("_conv") and not name.startswith("enhancer")]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert {layers[f"down{level}_1_leaky_relu"].activation.__name__ for level in range(4)} == {"leaky_relu"}
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {0.5}


def test_residual_blocks_pass_on_what_came_in():
    """With the second convolution's norm at zero, a block is its shortcut."""
    model = build_segmenter(small("res_attention_unet"), 1)
    norm, shortcut = model.get_layer("down0_2_norm"), model.get_layer("down0_shortcut")
    norm.set_weights([np.zeros_like(norm.get_weights()[0]), *norm.get_weights()[1:]])
    inner = keras.Model(model.inputs, [shortcut.output, model.get_layer("down0_out").output])
    through, out = inner.predict_on_batch([slices()])
    np.testing.assert_allclose(out, np.where(through > 0, through, 0.2 * through), atol=1e-6)
