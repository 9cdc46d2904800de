"""Each part of a model is trained at its own rate, and not before its time."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from toolkit.config import check_recipe
from toolkit.models.encoders import ENCODERS
from toolkit.training.optimizer import build_optimizer, variable_paces
from toolkit.training.state import load_state, save_state

REPOSITORY = Path(__file__).parents[3]
RATE, DECAY = 0.1, 0.5
RNG = np.random.default_rng(1)
# One large, one small, one reversing gradient for each variable.
GRADIENTS = [RNG.normal(size=(3, 2, 2)).astype(np.float32) * scale for scale in (3.0, 0.01, -1.0)]


def recipe(optimizer="adamw", minutes=1.0, **training):
    """With a budget, and so with a plain learning rate, unless minutes are 0."""
    values = {"learning_rate": RATE, "weight_decay": DECAY, "gradient_clip_norm": 1e9, "warmup_epochs": 0}
    return check_recipe({"training": {**values, "optimizer": optimizer, "minutes": minutes, **training}}, "test")


def three_parts():
    """Enhancer, encoder of one stage, decoder: a 2 x 2 kernel each."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((1, 1, 2))
    convolution = {"kernel_size": 1, "use_bias": False}
    encoder = keras.Model(
        pixels, keras.layers.Conv2D(2, strides=2, name="stage", **convolution)(pixels), name="encoder"
    )
    image = keras.Input((1, 1, 2))
    x = keras.layers.Conv2D(2, name="enhancer_detail", **convolution)(image)
    x = keras.layers.Conv2D(2, name="logits", **convolution)(encoder(x))
    return keras.Model(image, x)


def values(model):
    return [keras.ops.convert_to_numpy(variable).reshape(2, 2) for variable in model.trainable_variables]


def take_steps(model, optimizer, gradients=GRADIENTS):
    """Apply gradients inside a compiled step, as in training."""
    optimizer.build(model.trainable_variables)

    def step(*gradients):
        optimizer.apply([keras.ops.reshape(g, (1, 1, 2, 2)) for g in gradients], model.trainable_variables)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        step = tf.function(step)
    for of_parts in gradients:
        step(*of_parts)
    return values(model)


def adamw(start, gradients, factor, first_step=0, decay=DECAY):
    """Loshchilov and Hutter 2019, algorithm 2, with Keras' epsilon."""
    x, m, v = start.astype(np.float64), 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        rate = RATE * factor * (t > first_step)
        correction = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        x = x - rate * decay * x - rate * correction * m / (np.sqrt(v) + 1e-7)
    return x


def rmsprop(start, gradients, factor, first_step=0):
    """Hinton, Neural Networks for Machine Learning, lecture 6e."""
    x, v = start.astype(np.float64), 0.0
    for t, g in enumerate(gradients, start=1):
        v = 0.9 * v + 0.1 * g**2
        x = x - RATE * factor * (t > first_step) * g / np.sqrt(v + 1e-7)
    return x


@pytest.mark.parametrize(("name", "by_hand"), [("adamw", adamw), ("rmsprop", rmsprop)])
def test_three_steps_at_three_rates_are_those_worked_by_hand(name, by_hand):
    model = three_parts()
    start = values(model)
    own = recipe(name, rates={"enhancer": 3.0, "encoder": 0.1}, freezing={"enhancer_epochs": 1})
    after = take_steps(model, build_optimizer(own, model, steps_per_epoch=2))
    for part, (factor, first_step) in enumerate([(3.0, 2), (0.1, 0), (1.0, 0)]):
        expected = by_hand(start[part], [g[part] for g in GRADIENTS], factor, first_step)
        np.testing.assert_allclose(after[part], expected, atol=1e-5)


def test_what_is_frozen_stays_to_the_bit_and_then_moves():
    model = three_parts()
    before = values(model)
    own = recipe(rates={"encoder": 0.0}, freezing={"enhancer_epochs": 1.0})
    optimizer = build_optimizer(own, model, steps_per_epoch=2)
    frozen = take_steps(model, optimizer, GRADIENTS[:2])
    np.testing.assert_array_equal(frozen[:2], before[:2])
    assert (frozen[2] != before[2]).all()
    thawed = take_steps(model, optimizer, GRADIENTS[2:])
    assert (thawed[0] != before[0]).all()
    np.testing.assert_array_equal(thawed[1], before[1])  # a rate of 0: never


def test_the_gain_has_a_rate_of_its_own_within_the_enhancers():
    image = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="enhancer_gain_in")(image)
    model = keras.Model(image, keras.layers.Conv2D(1, 1, use_bias=False, name="enhancer_detail_in")(x))
    paces = variable_paces(recipe(rates={"enhancer": 0.5, "gain": 0.2}).training, model, 1)
    assert [pace.factor for pace in paces] == [0.1, 0.5]


def test_norms_and_biases_do_not_decay():
    image = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 1, name="enhancer_in", bias_initializer="ones")(image)
    model = keras.Model(image, keras.layers.BatchNormalization(beta_initializer="ones")(x))
    optimizer = build_optimizer(recipe(rates={"enhancer": 2.0}), model, 1)
    kernel, *others = (keras.ops.convert_to_numpy(v) for v in model.trainable_variables)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    after_kernel, *after_others = (keras.ops.convert_to_numpy(v) for v in model.trainable_variables)
    np.testing.assert_allclose(after_kernel, kernel * (1 - 2.0 * RATE * DECAY), rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate(after_others), np.concatenate(others))


@pytest.mark.parametrize("name", ["adamw", "rmsprop"])
def test_parts_that_are_trained_alike_need_nothing_but_keras(name):
    plain = {"adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}
    assert type(build_optimizer(recipe(name), three_parts(), 1)) is plain[name]


def test_the_rate_warms_up_and_decays_over_the_run_and_is_a_number_with_a_budget():
    model = three_parts()
    by_epochs = build_optimizer(recipe(minutes=0.0, epochs=5, warmup_epochs=1), model, steps_per_epoch=10)
    schedule = by_epochs._learning_rate
    rates = [float(schedule(step)) for step in (0, 10, 30, 50)]
    # A hundredth, all, the middle of the cosine between 1 and 0.01, 0.01.
    np.testing.assert_allclose(rates, [RATE / 100, RATE, RATE * 0.505, RATE * 0.01], rtol=1e-5)
    assert float(build_optimizer(recipe(minutes=1.0), model, 10).learning_rate) == pytest.approx(RATE)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-b0"])
def test_the_encoder_thaws_from_its_deepest_stage_up(name):
    """At 32 pixels, where shapes can't tell squeeze-and-excitation from the deepest stage."""
    image = keras.Input((32, 32, 3))
    encoder = ENCODERS[name](32, 32, "none")
    model = keras.Model(image, encoder(image))
    own = recipe(freezing={"encoder_epochs": 2, "stage_epochs": 1})
    paces = variable_paces(own.training, model, steps_per_epoch=10)
    first = {v.path: pace.first_step for v, pace in zip(model.trainable_variables, paces, strict=True)}
    assert sorted(set(first.values())) == [20, 30, 40, 50, 60]
    lite = name == "efficientnet-lite0"
    blocks = ("block15", "block5", "block3", "block1") if lite else ("block7a", "block4a", "block3a", "block2a")
    # In each, the depthwise convolution has the stride; what expands before it is of the stage above.
    layer = "_depthwise_conv/kernel" if lite else "_dwconv/kernel"
    assert [first[f"{block}{layer}"] for block in blocks] == [20, 30, 40, 50]
    assert first["stem_conv/kernel"] == 60
    if not lite:
        assert (first["block1a_se_reduce/kernel"], first["block7a_se_reduce/kernel"]) == (60, 20)


def test_a_resumed_run_thaws_when_the_unbroken_one_does(tmp_path):
    own = recipe(freezing={"encoder_epochs": 1}, rates={"enhancer": 0.5})

    def compiled():
        model = three_parts()
        model.compile(build_optimizer(own, model, steps_per_epoch=2), loss="mse", jit_compile=False)
        return model

    unbroken = compiled()
    take_steps(unbroken, unbroken.optimizer, GRADIENTS[:1])
    save_state(tmp_path, unbroken, [], 0.0)
    resumed = compiled()
    load_state(tmp_path, resumed)
    expected = take_steps(unbroken, unbroken.optimizer, GRADIENTS[1:])
    np.testing.assert_array_equal(take_steps(resumed, resumed.optimizer, GRADIENTS[1:]), expected)


@pytest.mark.end_to_end
def test_all_of_it_on_jax():
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install '.[jax]'")
    names = "worked_by_hand or to_the_bit or do_not_decay or thaws_when"
    command = [sys.executable, "-m", "pytest", __file__, "-k", names, "-p", "no:cacheprovider"]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "5 passed" in done.stdout


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_with_half_precision_steps_are_taken_at_the_same_paces(optimizer):
    """Keras then wraps the optimiser, and scales the loss up against underflow."""
    rates = {"enhancer": 0.0, "encoder": 0.5, "decoder": 1.0}
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = three_parts()
        before = values(model)
        own = recipe(optimizer, rates=rates, gradient_clip_norm=1.0)
        model.compile(build_optimizer(own, model, 10), loss="mse", jit_compile=False)
        pixels = RNG.random((8, 1, 1, 2)).astype(np.float32)
        losses = [float(model.train_on_batch(pixels, pixels)) for _ in range(5)]
        moved = [float(np.abs(new - old).max()) for old, new in zip(before, values(model), strict=True)]
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(losses).all()
    assert moved[0] == 0
    assert all(distance > 0 for distance in moved[1:])
