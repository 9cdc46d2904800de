"""A model has its minutes, and others on the machine can't take them away."""

import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from toolkit.config import check_recipe
from toolkit.training import budget
from toolkit.training.budget import Budget, TrainingClock

REPOSITORY = Path(__file__).parents[3]
PEAK, FINAL = 0.1, 0.02


class FakeClock:
    """Stands still unless told."""

    seconds = 0.0


class Rates(keras.callbacks.Callback):
    """Lets each batch and each validation take so many seconds, and remembers the learning rates used."""

    def __init__(self, clock, batch_seconds, validation_seconds=0.0):
        super().__init__()
        self.clock, self.batch_seconds, self.validation_seconds = clock, batch_seconds, validation_seconds
        self.used = []

    def on_train_batch_end(self, batch, logs=None):
        self.clock.seconds += self.batch_seconds
        self.used.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    def on_test_end(self, logs=None):
        self.clock.seconds += self.validation_seconds


def training(**values):
    return check_recipe({"training": {"learning_rate": PEAK, "final_learning_rate": FINAL, **values}}, "test").training


def model_of_one_weight(learning_rate=PEAK):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(learning_rate), loss="mae", jit_compile=False)
    return model


def fit(model, clock, batch_seconds, validation_seconds=0.0, minutes=1.0, warmup_steps=0, epochs=5):
    """Epochs of ten batches."""
    data = (np.ones((10, 1), np.float32), np.full((10, 1), 100, np.float32))
    rates = Rates(clock, batch_seconds, validation_seconds)
    callbacks = [rates, Budget(training(minutes=minutes), clock, warmup_steps)]
    history = model.fit(*data, batch_size=1, epochs=epochs, validation_data=data, callbacks=callbacks, verbose=0)
    return rates.used, history.history


def test_training_stops_with_the_batch_in_which_the_budget_is_spent_and_its_epoch_is_validated():
    used, history = fit(model_of_one_weight(), FakeClock(), batch_seconds=4.5)
    assert len(used) == 14  # 13 batches are 58.5 s
    assert len(history["val_loss"]) == 2


def test_validation_counts_and_no_epoch_begins_when_it_has_spent_the_rest():
    used, history = fit(model_of_one_weight(), FakeClock(), batch_seconds=1.0, validation_seconds=50.0)
    assert len(used) == 10
    assert len(history["val_loss"]) == 1


def test_the_learning_rate_follows_the_share_that_is_spent():
    used, _ = fit(model_of_one_weight(), FakeClock(), batch_seconds=15.0)
    # Cosine at 0, 1/4, 1/2 and 3/4 of the budget.
    cosine = [1.0, (2 + np.sqrt(2)) / 4, 0.5, (2 - np.sqrt(2)) / 4]
    np.testing.assert_allclose(used, [PEAK * (FINAL + (1 - FINAL) * c) for c in cosine], rtol=1e-6)


def test_the_steps_taken_use_it():
    model = model_of_one_weight()
    used, _ = fit(model, FakeClock(), batch_seconds=15.0)
    # The absolute error's gradient is -1, so that the weight is the sum of the rates.
    assert model.get_weights()[0].item() == pytest.approx(sum(used), rel=1e-5)


def test_it_warms_up_over_its_first_steps():
    used, _ = fit(model_of_one_weight(), FakeClock(), batch_seconds=0.0, warmup_steps=4, epochs=1)
    np.testing.assert_allclose(used, PEAK * np.array([0.01, 0.2575, 0.505, 0.7525, *[1.0] * 6]), rtol=1e-5)


def test_a_resumed_run_follows_the_rest_of_the_schedule():
    unbroken, _ = fit(model_of_one_weight(), FakeClock(), batch_seconds=2.0, warmup_steps=15)
    clock, model = FakeClock(), model_of_one_weight()
    first, _ = fit(model, clock, batch_seconds=2.0, warmup_steps=15, epochs=1)
    resumed = model_of_one_weight()
    resumed.optimizer.iterations.assign(model.optimizer.iterations)
    rest, _ = fit(resumed, clock, batch_seconds=2.0, warmup_steps=15)
    np.testing.assert_allclose([*first, *rest], unbroken, rtol=1e-6)


def test_it_says_what_is_spent_and_what_is_left():
    clock = FakeClock()
    callback = Budget(training(minutes=3), clock, 0)
    clock.seconds = 45.0
    assert (callback.share, callback.minutes_left) == (0.25, 2.25)
    clock.seconds = 500.0
    assert (callback.share, callback.minutes_left) == (1.0, 0.0)


# --- the clock ----------------------------------------------------------------------


def devices(monkeypatch, *names):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: list(names))


def test_without_a_gpu_it_counts_work_over_cores_and_not_waiting(monkeypatch):
    devices(monkeypatch, "cpu:0")
    monkeypatch.setattr(budget, "usable_cores", lambda: 4.0)
    clock = TrainingClock(spent=100.0)
    time.sleep(0.3)
    assert 100.0 <= clock.seconds < 100.05
    before, start = clock.seconds, time.process_time()
    while time.process_time() - start < 0.2:
        pass
    assert clock.seconds - before == pytest.approx(0.05, abs=0.01)


def test_with_a_gpu_it_is_the_clock_on_the_wall(monkeypatch):
    devices(monkeypatch, "gpu:0")
    clock = TrainingClock(spent=100.0)
    time.sleep(0.1)
    assert 100.1 <= clock.seconds < 101.0


@pytest.mark.end_to_end
def test_all_of_it_on_jax():
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install '.[jax]'")
    command = [sys.executable, "-m", "pytest", __file__, "-m", "not end_to_end", "-p", "no:cacheprovider"]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
