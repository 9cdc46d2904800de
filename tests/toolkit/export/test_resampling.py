"""The graph's resize is the one that training and bts-predict make, for every size that a scanner may have."""

import numpy as np
import pytest
import tensorflow as tf

from toolkit.data.grid import resize_planes
from toolkit.data.grid import resize_weights as weights_of_toolkit
from toolkit.export.resampling import resampled, resize_weights

SIZES = [1, 2, 3, 5, 7, 8, 16, 17, 31, 32, 33, 45, 64, 100]
weights_of_graph = tf.function(
    resize_weights, input_signature=[tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.int32)]
)


@pytest.mark.parametrize("n_from", SIZES)
def test_each_sample_has_the_share_that_opencv_gives_it(n_from):
    for n_to in SIZES:
        ours = weights_of_graph(n_from, n_to).numpy()
        np.testing.assert_allclose(ours, weights_of_toolkit(n_from, n_to), atol=2e-5, err_msg=f"{n_from} to {n_to}")
        np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [(20, 20), (64, 64), (20, 64), (64, 20), (41, 32), (1, 1)])
def test_a_slice_is_resized_as_in_training(size):
    """Smaller, larger, and taller but narrower, as a slice of oblong pixels is."""
    images = np.random.default_rng(0).random((3, 41, 32, 2)).astype(np.float32)
    ours = resampled(tf.constant(images), resize_weights(41, size[0]), resize_weights(32, size[1]))
    np.testing.assert_allclose(ours, resize_planes(images, *size), atol=2e-6)


def test_of_unknown_sizes_images_go_through_one_weight_after_the_other():
    """Both weights multiplied first are as large as the square of a slice."""
    unknown = [tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((None, None)), tf.TensorSpec((None, None))]
    graph = tf.function(resampled, input_signature=unknown).get_concrete_function().graph
    products = [op.get_attr("equation").decode() for op in graph.get_operations() if op.type == "Einsum"]
    assert len(products) == 2
    assert all("n" in factor for equation in products for factor in equation.split("->")[1:]), products
