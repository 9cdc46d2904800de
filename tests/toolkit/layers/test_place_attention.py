"""Self-attention between places: every place sees every other, by the equation."""

import keras
import numpy as np

from toolkit.layers.place_attention import HEADS, PlaceAttention, positions

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(2, 3, 4, 8)).astype(np.float32)


def built():
    layer = PlaceAttention()
    layer.build(MAPS.shape)
    layer.set_weights([RNG.normal(0, 0.5, w.shape).astype(np.float32) for w in layer.get_weights()])
    return layer


def run(layer, maps):
    return keras.ops.convert_to_numpy(layer(maps))


def test_it_is_the_equation_worked_in_numpy():
    layer = built()
    weights = {w.path.split("attention/")[-1]: np.asarray(w, np.float64) for w in layer.weights}
    gamma, beta = (np.asarray(w, np.float64) for w in layer.norm.weights)
    x = MAPS.reshape(2, 12, 8).astype(np.float64)
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.norm.epsilon) * gamma + beta
    asked = normed + positions(3, 4, 8)
    q, k, v = (
        np.einsum("bpc,chd->bhpd", asked, weights[f"{part}/kernel"]) + weights[f"{part}/bias"][None, :, None]
        for part in ("query", "key", "value")
    )
    scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(8 // HEADS))
    seen = scores / scores.sum(-1, keepdims=True) @ v
    out = np.einsum("bhpd,hdc->bpc", seen, weights["attention_output/kernel"]) + weights["attention_output/bias"]
    np.testing.assert_allclose(run(layer, MAPS).reshape(2, 12, 8), x + out, atol=1e-4)


def test_a_change_in_one_corner_is_seen_in_the_other():
    layer, changed = built(), MAPS.copy()
    changed[:, 0, 0] += RNG.normal(size=8)
    assert np.abs(run(layer, changed) - run(layer, MAPS))[:, 2, 3].max() > 1e-4


def test_every_place_has_a_position_of_its_own():
    places = positions(5, 7, 12)[0]
    assert len(np.unique(places.round(5), axis=0)) == 35
