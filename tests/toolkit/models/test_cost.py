"""Arithmetic is counted as published, as worked by hand, and as TensorFlow's profiler sees it."""

import keras
import pytest

from toolkit.config import check_recipe
from toolkit.layers.place_attention import PlaceAttention
from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.models.cost import count_flops
from toolkit.models.segmenter import build_segmenter


def test_efficientnet_b0_costs_what_its_paper_says():
    """Tan and Le 2019, table 2: 5.3 M parameters, 0.39 B multiply-adds."""
    model = keras.applications.EfficientNetB0(weights=None)
    assert model.count_params() == pytest.approx(5.3e6, rel=0.01)
    assert count_flops(model) == pytest.approx(2 * 0.39e9, rel=0.02)


def alone(layer, *shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (keras.layers.Conv2D(5, 3, strides=2, padding="same"), (8, 6, 2), 4 * 3 * 5 * (9 * 2)),
        (keras.layers.DepthwiseConv2D(3, padding="same"), (8, 6, 2), 8 * 6 * 2 * 9),
        (keras.layers.Conv2DTranspose(5, 2, strides=2), (4, 3, 2), 8 * 6 * 5 * 2),
        (keras.layers.LSTM(3, return_sequences=True), (7, 2), 7 * 4 * 3 * (2 + 3)),
        # Query, key, value and output of 4 x 4 at each of 6 places; then 6 x 6 products of length 4, twice.
        (PlaceAttention(), (2, 3, 4), 6 * 4 * (4 * 4) + 2 * (6 * 6 * 4)),
        (keras.layers.BatchNormalization(), (8, 6, 2), 0),
    ],
    ids=["strided", "depthwise", "transposed", "recurrent", "attention", "norm"],
)
def test_it_is_as_worked_by_hand(layer, shape, multiply_adds):
    assert count_flops(alone(layer, *shape)) == 2 * multiply_adds


def test_slices_of_a_window_count_each_also_inside_an_encoder():
    slices = keras.Input((3, 4, 4, 1))
    encoder = alone(keras.layers.Conv2D(2, 1), 4, 4, 1)
    x = encoder(MergeSlices()(slices))
    x = keras.layers.Conv3D(1, 1)(SplitSlices(3)(x))
    assert count_flops(keras.Model(slices, x)) == 2 * (3 * 16 * 2 + 3 * 16 * 2)


@pytest.mark.parametrize("network", ["proposed", "res_attention_unet"])
def test_the_profiler_of_tensorflow_agrees(network):
    """It counts biases and element-wise products, too, but hardly any of the arithmetic is in them."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a profiler of TensorFlow's graphs")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = {"network": network, "encoder_weights": "none", "self_attention": True}
    built = build_segmenter(check_recipe({"data": {"image_size": 64}, "model": model}, "test"), 1)
    window = {"slices": tf.TensorSpec((1, *built.inputs[0].shape[1:]))}
    graph = convert_variables_to_constants_v2(tf.function(lambda x: built(x)).get_concrete_function(window)).graph
    options = {**tf.compat.v1.profiler.ProfileOptionBuilder.float_operation(), "output": "none"}
    profiled = tf.compat.v1.profiler.profile(graph, options=options, cmd="op").total_float_ops
    assert count_flops(built) == pytest.approx(profiled, rel=0.02)
