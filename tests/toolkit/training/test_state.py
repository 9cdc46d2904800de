"""A run that was killed goes on as if nothing had happened, from one file that is whole or not there."""

import errno

import keras
import numpy as np
import pytest

from toolkit.errors import ModelError, OutputError
from toolkit.training.state import FILE, load_state, save_state

HISTORY = [{"epoch": 1, "loss": 0.5, "val_dice": 0.25}, {"epoch": 2, "loss": 0.25, "val_dice": 0.5}]
RNG = np.random.default_rng(1)
IMAGES = RNG.random((8, 4, 4, 1), np.float32)
TRUTH = (IMAGES > 0.5).astype(np.float32)


def small_model(filters=3, seed=1):
    """Convolution, norm, dropout: weights, statistics, seeds; AdamW under a schedule, as in training."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((4, 4, 1)),
        keras.layers.Conv2D(filters, 3, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.SpatialDropout2D(0.5),
        keras.layers.Conv2D(1, 1, activation="sigmoid"),
    ]
    model = keras.Sequential(layers)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    model.compile(keras.optimizers.AdamW(schedule), loss="binary_crossentropy", run_eagerly=True, jit_compile=False)
    return model


def step(model, times=1):
    return [float(model.train_on_batch(IMAGES, TRUTH)) for _ in range(times)]


def everything(model):
    return [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]


def assert_same(first, second):
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture(scope="module")
def trained():
    model = small_model()
    step(model, 2)
    return model


@pytest.fixture
def folder(trained, tmp_path):
    save_state(tmp_path / "last", trained, HISTORY, 12.5)
    return tmp_path / "last"


def test_weights_optimiser_and_dropout_come_back_exactly(trained, folder):
    fresh = small_model(seed=2)
    history, seconds = load_state(folder, fresh)
    assert (history, seconds) == (HISTORY, 12.5)
    assert_same(everything(fresh), everything(trained))
    assert int(fresh.optimizer.iterations) == 2
    seeds = [v for v in fresh.variables if "seed" in v.path]
    assert len(seeds) == 1


def test_the_next_steps_are_those_of_the_unbroken_run(tmp_path):
    unbroken = small_model()
    step(unbroken, 2)
    save_state(tmp_path, unbroken, HISTORY, 1.0)
    resumed = small_model(seed=2)
    load_state(tmp_path, resumed)
    assert step(resumed, 3) == pytest.approx(step(unbroken, 3), abs=1e-6)
    for one, two in zip(everything(resumed), everything(unbroken), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_without_the_dropout_seed_they_would_be_others(tmp_path):
    """So the test before can fail."""
    unbroken = small_model()
    step(unbroken, 2)
    save_state(tmp_path, unbroken, HISTORY, 1.0)
    resumed = small_model(seed=2)
    load_state(tmp_path, resumed)
    next(v for v in resumed.variables if "seed" in v.path).assign([5, 5])
    assert step(resumed, 3) != pytest.approx(step(unbroken, 3), abs=1e-6)


def test_a_state_can_be_saved_before_the_first_step(tmp_path):
    model = small_model()
    save_state(tmp_path, model, [], 0.0)
    assert load_state(tmp_path, small_model(seed=2)) == ([], 0.0)


# --- what can't be resumed from -------------------------------------------------------


def assert_refused(folder, model=None):
    with pytest.raises(ModelError) as caught:
        load_state(folder, model or small_model())
    message = str(caught.value)
    assert message.startswith(f"{folder / FILE}: can't be resumed from")
    assert "\n" not in message


def test_the_state_of_another_model_is_refused(folder):
    assert_refused(folder, small_model(filters=4))
    deeper = keras.Sequential([keras.Input((4, 4, 1)), *[keras.layers.Conv2D(1, 3, padding="same") for _ in range(9)]])
    deeper.compile("adamw")
    assert_refused(folder, deeper)


def test_a_state_cut_short_is_refused(folder):
    content = (folder / FILE).read_bytes()
    for length in (0, 3, len(content) // 2, len(content) - 10):
        (folder / FILE).write_bytes(content[:length])
        assert_refused(folder)


def test_a_missing_state_and_something_else_are_refused(tmp_path, folder):
    assert_refused(tmp_path / "absent")
    (folder / FILE).write_bytes(b"not a zip" * 10)
    assert_refused(folder)


# --- a disk that fills up ---------------------------------------------------------------


def test_a_failing_write_leaves_the_old_state(trained, folder, monkeypatch):
    before = (folder / FILE).read_bytes()

    def full_disk(file, **_):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        save_state(folder, trained, [*HISTORY, {"epoch": 3}], 20.0)
    assert (folder / FILE).read_bytes() == before
    assert list(folder.iterdir()) == [folder / FILE]
    assert load_state(folder, small_model(seed=2))[0] == HISTORY
