"""The gate against the two equations of the paper it comes from, written in NumPy."""

import keras
import numpy as np
import pytest

from toolkit.layers.attention_gate import AttentionGate

RNG = np.random.default_rng(3)
SKIP = RNG.normal(size=(2, 4, 4, 6)).astype(np.float32)
GATING = RNG.normal(size=(2, 4, 4, 3)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def gate():
    """A gate of five joint channels, its weights all random, biases too."""
    layer = AttentionGate(5)
    layer([SKIP, GATING])
    layer.set_weights([RNG.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()])
    return layer


def by_the_equations(layer):
    """Oktay et al. 2018: q = psi^T relu(W_x^T x + W_g^T g + b_g) + b_psi, alpha = sigmoid(q)."""
    (w_x,), (w_g, b_g), (psi, b_psi) = (part.get_weights() for part in (layer.skip_conv, layer.gating_conv, layer.psi))
    q = np.maximum(SKIP @ w_x[0, 0] + GATING @ w_g[0, 0] + b_g, 0) @ psi[0, 0] + b_psi
    return sigmoid(q)


def test_the_gate_is_what_its_equations_say(gate):
    gated, attention = (keras.ops.convert_to_numpy(output) for output in gate([SKIP, GATING]))
    expected = by_the_equations(gate)
    assert expected.std() > 0.05
    np.testing.assert_allclose(attention, expected, atol=1e-5)
    np.testing.assert_allclose(gated, SKIP * expected, atol=1e-5)


def test_attention_is_one_map_between_nothing_and_all(gate):
    _, attention = gate([SKIP * 100, GATING * 100])
    attention = keras.ops.convert_to_numpy(attention)
    assert attention.shape == (2, 4, 4, 1)
    assert attention.min() >= 0
    assert attention.max() <= 1


def small_model():
    skip, gating = keras.Input((4, 4, 6), name="skip"), keras.Input((4, 4, 3), name="gating")
    return keras.Model([skip, gating], AttentionGate(5, name="gate")([skip, gating]))


def test_a_model_with_a_gate_loads_without_being_told_of_it(tmp_path):
    model = small_model()
    model.save(tmp_path / "gate.keras")
    loaded = keras.saving.load_model(tmp_path / "gate.keras")
    assert loaded.get_layer("gate").filters == 5
    for before, after in zip(model([SKIP, GATING]), loaded([SKIP, GATING]), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_gate_trained_in_half_precision_works_in_a_session_of_full_precision(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = small_model()
        model.save(tmp_path / "gate.keras")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "gate.keras")
    before, after = (keras.ops.convert_to_numpy(m([SKIP, GATING])[1]) for m in (model, loaded))
    np.testing.assert_array_equal(before, after)
