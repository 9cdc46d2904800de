"""The enhancer: nothing before training, its neighbours' knowledge after, whatever it is made of."""

import keras
import numpy as np
import pytest

from toolkit.config import EnhancerRecipe
from toolkit.models.enhancer import build_enhancer, resized_enhancer

N_SLICES, SIZE = 4, 32
SHAPE = (N_SLICES, SIZE, SIZE, 2)
RNG = np.random.default_rng(4)
SLICES = RNG.random((2, *SHAPE)).astype(np.float32)
KINDS = ("convlstm", "lstm", "cnn")
FAMILY = [
    {"kind": kind, "resolution": resolution, "layers": layers, "bidirectional": both}
    for kind in KINDS
    for resolution, layers, both in (("half", 1, True), ("full", 1, True), ("half", 3, True), ("half", 2, False))
] + [
    {"kind": kind, **more}
    for kind in KINDS
    for more in ({"convolution_filters": 4, "residual_blocks": 1}, {"parts": "gain"}, {"parts": "detail"})
]


def build(shape=SHAPE, **recipe):
    return build_enhancer(EnhancerRecipe(**{"filters": 2, **recipe}), shape)


def run(model, slices=SLICES):
    return keras.ops.convert_to_numpy(model({"slices": slices})["enhanced"])


def trained(**recipe):
    """As if trained: the last layers no longer give zero."""
    model = build(**recipe)
    last = ("enhancer_gain_out", "enhancer_gain_level", "enhancer_detail_out")
    for layer in (layer for layer in model.layers if layer.name in last):
        layer.set_weights([RNG.normal(0, 0.3, weight.shape).astype(np.float32) for weight in layer.get_weights()])
    return model


def moved_slices(model, changed):
    """Which slices of the answer change where one slice of the input does."""
    slices = SLICES.copy()
    slices[:, changed] = 1 - slices[:, changed]
    return np.abs(run(model, slices) - run(model)).max(axis=(0, 2, 3, 4)) > 1e-6


@pytest.mark.parametrize("recipe", FAMILY, ids=lambda r: "-".join(str(v) for v in r.values()))
def test_an_untrained_enhancer_passes_its_input_on_unchanged(recipe):
    np.testing.assert_array_equal(run(build(**recipe)), SLICES)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_rounds_nothing_of_what_is_passed_on(half):
    keras.mixed_precision.set_global_policy(f"mixed_{half}")
    try:
        model = build(kind="convlstm")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert half in {layer.compute_dtype for layer in model.layers}
    np.testing.assert_array_equal(run(model), SLICES)


def test_kind_none_passes_its_input_on_unchanged():
    model = build(kind="none")
    np.testing.assert_array_equal(run(model), SLICES)
    assert not model.weights


@pytest.mark.parametrize("changed", range(N_SLICES))
def test_with_convlstm_every_slice_knows_of_every_other_on_either_side(changed):
    assert moved_slices(trained(), changed).all()


def test_one_direction_knows_only_what_came_before():
    assert moved_slices(trained(bidirectional=False), 2).tolist() == [False, False, True, True]


@pytest.mark.parametrize("kind", ["lstm", "cnn"])
def test_kinds_for_lone_slices_know_nothing_of_neighbours(kind):
    assert moved_slices(trained(kind=kind), 1).tolist() == [False, True, False, False]


def test_an_lstm_over_rows_and_columns_sees_across_the_slice():
    model = trained(kind="lstm")
    slices = SLICES.copy()
    slices[:, :, 0, 0] += 1
    # Of the detail alone: the gain sees the whole slice anyhow.
    gain = model.get_layer("enhancer_gain_out")
    gain.set_weights([np.zeros_like(weight) for weight in gain.get_weights()])
    moved = np.abs(run(model, slices) - run(model)).max(axis=(0, 1, 4))
    assert moved[0, -1] > 1e-6
    assert moved[-1, 0] > 1e-6


def test_the_cnn_has_as_many_weights_as_the_convlstm_it_is_compared_with():
    lstm, cnn = (build(kind=kind, filters=8, parts="detail").count_params() for kind in ("convlstm", "cnn"))
    assert cnn == pytest.approx(lstm, rel=0.02)
    # Its gain has none for steps between slices, which it does not see.
    lstm, cnn = (build(kind=kind, filters=8, parts="gain").count_params() for kind in ("convlstm", "cnn"))
    assert 0.93 * lstm < cnn < lstm


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_one_size_and_length_fit_another(kind):
    model, shape = trained(kind=kind), (6, 2 * SIZE, SIZE, 2)
    longer = resized_enhancer(model, EnhancerRecipe(kind=kind, filters=2), shape)
    assert longer({"slices": np.zeros((1, *shape))})["enhanced"].shape == (1, *shape)
    for one, other in zip(model.get_weights(), longer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_gain_lies_between_half_and_twice():
    model = trained(parts="gain")
    kernel, bias = model.get_layer("enhancer_gain_out").get_weights()
    model.get_layer("enhancer_gain_out").set_weights([np.zeros_like(kernel), np.full_like(bias, 50) * [1, -1]])
    np.testing.assert_allclose(run(model), SLICES * [2, 0.5], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gain_then_detail_are_what_both_are(kind):
    both, gain, detail = (trained(kind=kind, parts=parts) for parts in ("both", "gain", "detail"))
    for part in (gain, detail):
        for layer in (layer for layer in part.layers if layer.weights):
            layer.set_weights(both.get_layer(layer.name).get_weights())
    np.testing.assert_allclose(run(detail, run(gain)), run(both), atol=1e-6)
    assert gain.count_params() + detail.count_params() == both.count_params()


def test_a_slice_that_is_too_dark_shows_in_its_walk():
    """The steps reach the walk whatever the other weights are."""
    model = build(kind="convlstm")
    slices = np.tile(RNG.uniform(0.3, 0.7, (1, 1, SIZE, SIZE, 2)), (1, N_SLICES, 1, 1, 1)).astype(np.float32)
    slices[:, 2] *= 0.8
    walk = keras.Model(model.inputs, model.get_layer("enhancer_gain_known").output)
    steps = keras.ops.convert_to_numpy(walk({"slices": slices}))[:, :2]
    drift = np.log(0.8)
    np.testing.assert_allclose(steps, [[0, 0], [0, 0], [drift, drift], [-drift, -drift]], atol=0.04)


def test_every_weight_can_learn():
    model = trained(kind="convlstm", layers=2)
    model.compile("sgd", loss={"enhanced": "mse"}, run_eagerly=True)
    before = [weight.copy() for weight in model.get_weights()]
    model.train_on_batch({"slices": SLICES}, {"enhanced": SLICES[:, ::-1]})
    names = [w.path for w, old in zip(model.weights, before, strict=True) if np.array_equal(old, np.asarray(w))]
    assert names == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights_to_the_bit(kind):
    """Where a tensor is read three times, TensorFlow adds its gradients in an order that chance decides."""
    model = trained(kind=kind)
    model.compile("sgd", loss="mse", jit_compile=False)
    start = model.get_weights()
    learned = []
    for _ in range(20):
        model.set_weights(start)
        model.train_on_batch({"slices": SLICES}, {"enhanced": SLICES[::-1]})
        learned.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    assert np.ptp(learned, axis=0).max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_saved_and_loaded(kind, tmp_path):
    model = trained(kind=kind)
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(run(keras.saving.load_model(tmp_path / "m.keras")), run(model), atol=1e-6)
