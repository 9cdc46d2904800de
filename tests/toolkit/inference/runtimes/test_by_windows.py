"""A case by windows: each slice passes the network once, in order, and memory does not grow with their number."""

import numpy as np
import pytest

from tests.small_models import HALO, N_SLICES, scan, small_info
from toolkit.data.intensity import intensity_range
from toolkit.data.windows import windows
from toolkit.inference.runtimes.by_windows import WindowRuntime
from toolkit.inference.runtimes.keras_file import KerasRuntime, batch_slices

LIMITS = np.array([[0.0, 100.0]], np.float32)


class Counting(WindowRuntime):
    """Counts what is asked of it; enhanced is a slice minus the mean of its window."""

    batch_windows, batch_slices = 1, 1
    name, shows = "counting", frozenset(["enhanced"])

    def __init__(self, **model):
        self.info, self.windows, self.slices = small_info(model=model), 0, 0

    def enhance(self, batch):
        self.windows += len(batch)
        return batch - batch.mean(axis=1, keepdims=True)

    def network(self, slices, wanted):
        self.slices += len(slices)
        return {"probability": slices}


@pytest.mark.parametrize("n_slices", [1, 4, 5, 11])
def test_the_network_is_asked_about_each_slice_once(n_slices):
    runtime = Counting()
    runtime.probability(scan(n_slices), LIMITS, None)
    assert runtime.windows == len(windows(n_slices, N_SLICES, HALO))
    assert runtime.slices == n_slices


@pytest.mark.parametrize("kind", ["none", "lstm", "cnn"])
def test_an_enhancer_that_sees_no_neighbours_needs_no_halo(kind):
    runtime = Counting(enhancer={"kind": kind})
    runtime.probability(scan(12), LIMITS, None)
    assert runtime.windows == 3


@pytest.mark.parametrize("batches", [(1, 1), (2, 3), (5, 4)])
def test_batches_change_nothing(batches):
    images, one, many = scan(11), Counting(), Counting()
    many.batch_windows, many.batch_slices = batches
    limits = intensity_range(images)
    np.testing.assert_allclose(many.probability(images, limits, None), one.probability(images, limits, None), atol=1e-6)


@pytest.mark.parametrize("spacing_mm", [None, (3.0, 1.0, 1.0), (1.0, 2.0, 2.0)])
def test_streamed_slices_are_those_of_the_whole_in_their_order(spacing_mm):
    runtime = Counting()
    if spacing_mm:
        runtime.info = small_info({"spacing_mm": (2.0, 1.5, 1.5)})
    images = scan(9, 30, 32)
    whole = runtime.probability(images, LIMITS, spacing_mm)
    streamed = [maps["probability"] for maps in runtime.stream(images, LIMITS, spacing_mm)]
    assert whole.std() > 0.01
    np.testing.assert_array_equal(np.stack(streamed), whole)


def test_a_slice_is_given_before_the_case_has_been_read():
    class Reluctant(np.ndarray):
        read = 0

        def __getitem__(self, index):
            Reluctant.read = max(Reluctant.read, int(np.max(index)))
            return np.asarray(self)[index]

    next(Counting().stream(scan(50).view(Reluctant), LIMITS, None))
    assert Reluctant.read < N_SLICES


def test_slices_in_another_order_come_back_in_theirs():
    runtime = Counting()
    runtime.info = small_info({"window": {"slices": N_SLICES, "halo": 0, "shuffled": True}})
    runtime.enhance = lambda batch: batch
    images = np.broadcast_to(np.arange(10)[:, None, None, None] * 10.0, (10, 32, 32, 1)).astype(np.float32)
    answer = runtime.probability(images, LIMITS, None)
    np.testing.assert_allclose(answer[:, 0, 0, 0], 0.1 * np.arange(10), atol=1e-6)


def test_enhanced_slices_come_beside_the_probability(small_exports):
    images = scan(5)
    (maps, *_) = Counting().stream(images, LIMITS, None, ["enhanced"])
    assert set(maps) == {"probability", "enhanced"}
    np.testing.assert_array_equal(maps["enhanced"], maps["probability"])


def test_batches_of_a_model_in_keras_follow_the_memory_there_is(small_exports, monkeypatch):
    from toolkit.inference.runtimes import keras_file

    for available, slices in ((2**40, keras_file.MOST_SLICES), (0, 1)):
        monkeypatch.setattr(keras_file, "available_bytes", lambda available=available: available)
        assert batch_slices(128) == slices
        assert KerasRuntime("model", small_exports.model, small_exports.info).batch_slices == slices
    monkeypatch.setattr(keras_file, "available_bytes", lambda: 2**30)
    assert 1 < batch_slices(128) < keras_file.MOST_SLICES or batch_slices(512) < batch_slices(128)
