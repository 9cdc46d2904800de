"""What is booked at the end of an epoch, in which order, and when training stops: by itself and by Ctrl-C."""

import csv

import keras
import numpy as np
import pytest

from toolkit.interruption import remembering_ctrl_c
from toolkit.training import callbacks
from toolkit.training.budget import TrainingClock
from toolkit.training.callbacks import Bookkeeper, Interruptible, Progress, best_row


class FakeOptimizer:
    learning_rate = 0.125


class FakeModel:
    """What a callback needs of a model."""

    optimizer = FakeOptimizer()
    stop_training = False


@pytest.fixture
def booked(monkeypatch):
    """Names of the files in the order in which they were written."""
    written = []
    write_csv = callbacks.write_csv

    def remember_csv(path, rows):
        written.append(path.name)
        write_csv(path, rows)

    monkeypatch.setattr(callbacks, "write_csv", remember_csv)
    monkeypatch.setattr(
        callbacks, "save_state", lambda folder, model, history, seconds: written.append((folder.name, len(history)))
    )
    return written


def run(folder, booked, dices, patience=0, history=None):
    """Epochs with these validation Dices, until training is stopped."""
    bookkeeper = Bookkeeper(
        folder,
        history if history is not None else [],
        TrainingClock(),
        lambda model, path: booked.append(path.name),
        patience,
    )
    model = FakeModel()
    bookkeeper.set_model(model)
    for epoch, dice in enumerate(dices, start=len(bookkeeper.history)):
        bookkeeper.on_epoch_end(epoch, {"loss": 1.0 - dice, "val_dice": dice})
        if model.stop_training:
            break
    return bookkeeper


def test_the_history_has_a_row_for_each_epoch(tmp_path, booked):
    bookkeeper = run(tmp_path, booked, [0.25, 0.5])
    assert bookkeeper.history == [
        {"epoch": 1, "loss": 0.75, "val_dice": 0.25, "learning_rate": 0.125},
        {"epoch": 2, "loss": 0.5, "val_dice": 0.5, "learning_rate": 0.125},
    ]
    with (tmp_path / "history.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["epoch", "loss", "val_dice", "learning_rate"],
            ["1", "0.75", "0.25", "0.125"],
            ["2", "0.5", "0.5", "0.125"],
        ]


def test_the_best_model_is_written_when_there_is_a_better_one_and_the_state_always_last(tmp_path, booked):
    run(tmp_path, booked, [0.2, 0.1, 0.3])
    assert booked == [
        *["best.keras", "history.csv", ("last", 1)],
        *["history.csv", ("last", 2)],
        *["best.keras", "history.csv", ("last", 3)],
    ]


def test_of_equals_the_first_is_the_best(tmp_path, booked):
    bookkeeper = run(tmp_path, booked, [0.2, 0.3, 0.3])
    assert booked.count("best.keras") == 2
    assert best_row(bookkeeper.history)["epoch"] == 2


def test_training_stops_after_so_many_epochs_without_gain(tmp_path, booked):
    bookkeeper = run(tmp_path, booked, [0.1, 0.3, 0.2, 0.3, 0.9], patience=2)
    assert [row["epoch"] for row in bookkeeper.history] == [1, 2, 3, 4]


def test_a_gain_within_patience_keeps_training_going(tmp_path, booked):
    bookkeeper = run(tmp_path, booked, [0.1, 0.05, 0.2, 0.15, 0.3], patience=2)
    assert len(bookkeeper.history) == 5


def test_patience_zero_never_stops(tmp_path, booked):
    assert len(run(tmp_path, booked, [0.9, *[0.1] * 9]).history) == 10


def test_a_resumed_run_decides_as_an_unbroken_one(tmp_path, booked):
    dices = [0.1, 0.3, 0.2, 0.25, 0.9]
    unbroken = run(tmp_path, booked, dices, patience=2).history
    whole = list(booked)
    booked.clear()
    first = run(tmp_path, booked, dices[:3], patience=2).history
    resumed = run(tmp_path, booked, dices[3:], patience=2, history=first)
    assert resumed.history == unbroken
    assert booked == whole


def test_progress_says_epoch_metrics_and_time_left(capsys, monkeypatch):
    now = iter([50.0, 110.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now, 110.0))
    progress = Progress(steps=4, epochs=3)
    monkeypatch.setattr(progress, "_bar", SilentBar())
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(0)
    progress.on_epoch_end(0, {"loss": 0.5, "val_dice": 0.25})
    # One epoch took 60 s, two are left.
    assert capsys.readouterr().out == "epoch 1/3  loss 0.5000  val_dice 0.2500  60 s  (2 min left)\n"
    assert progress._bar.moved == 1


class SilentBar:
    """A bar that asks no clock."""

    moved = 0

    def add_task(self, *_, **__):
        return 1

    def advance(self, _):
        self.moved += 1

    def remove_task(self, _):
        pass


def test_of_an_enhancer_the_epoch_with_the_highest_psnr_is_best():
    assert best_row([{"epoch": 1, "val_psnr": 20.0}, {"epoch": 2, "val_psnr": 25.0}])["epoch"] == 2


@pytest.mark.parametrize(("lost_in", "batches"), [("on_train_batch_begin", 1), ("on_test_batch_begin", 4)])
def test_a_lost_ctrl_c_stops_training_with_its_batch(lose_ctrl_c, lost_in, batches):
    """Three batches of training are followed by three of validation."""

    class Batches(keras.callbacks.Callback):
        begun = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.begin("on_train_batch_begin")

        def on_test_batch_begin(self, batch, logs=None):
            self.begin("on_test_batch_begin")

        def begin(self, name):
            self.begun += 1
            if name == lost_in:
                lose_ctrl_c()

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", run_eagerly=True, jit_compile=False)
    data, counted = (np.ones((3, 1)), np.ones((3, 1))), Batches()
    with remembering_ctrl_c(), pytest.raises(KeyboardInterrupt):
        model.fit(*data, batch_size=1, validation_data=data, callbacks=[counted, Interruptible()], verbose=0)
    assert counted.begun == batches
