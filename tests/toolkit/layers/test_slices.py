import keras
import numpy as np

from toolkit.layers.slices import MergeSlices, SplitSlices


def test_windows_become_single_slices_in_order_and_windows_again():
    windows = np.arange(2 * 3 * 4 * 5 * 2, dtype="float32").reshape(2, 3, 4, 5, 2)
    merged = np.asarray(MergeSlices()(windows))
    assert merged.shape == (6, 4, 5, 2)
    np.testing.assert_array_equal(merged[4], windows[1, 1])
    np.testing.assert_array_equal(np.asarray(SplitSlices(3)(merged)), windows)


def test_shapes_are_known_before_the_batch_is():
    inputs = keras.Input((3, 4, 5, 2))
    merged = MergeSlices()(inputs)
    assert merged.shape == (None, 4, 5, 2)
    assert SplitSlices(3)(merged).shape == (None, 3, 4, 5, 2)


def test_a_saved_model_comes_back_without_custom_objects(tmp_path):
    inputs = keras.Input((3, 4, 4, 1))
    model = keras.Model(inputs, SplitSlices(3, name="split")(MergeSlices(name="merge")(inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    windows = np.random.default_rng(0).random((2, 3, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(np.asarray(loaded(windows)), windows)
    assert loaded.get_layer("split").n_slices == 3
