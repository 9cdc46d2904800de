"""Training by the clock: so many minutes, and a learning rate that follows what is spent of them."""

from __future__ import annotations

import math
import time
from typing import Any

import keras

from toolkit.config import TrainingRecipe
from toolkit.cores import usable_cores


class TrainingClock:
    """Seconds of a run.

    Where the backend has a GPU or TPU these are seconds on the wall. Without one they are the
    process's CPU time over the cores it may use: another program on the machine then makes a run
    longer, not its training shorter, so that models compared have learned for equal times.

    Args:
        spent: seconds of the run before it was resumed.
    """

    def __init__(self, spent: float = 0.0) -> None:
        on_cpu = all(device.startswith("cpu") for device in keras.distribution.list_devices())
        self._now = time.process_time if on_cpu else time.monotonic
        self._cores = usable_cores() if on_cpu else 1.0
        self._spent = spent
        self._start = self._now()

    @property
    def seconds(self) -> float:
        """Seconds spent, over all resumes."""
        return self._spent + (self._now() - self._start) / self._cores


class Budget(keras.callbacks.Callback):
    """Trains for `training.minutes`, whatever that is in epochs.

    At each batch the learning rate is set to `learning_rate * w * c`, with

        w = 0.01 + 0.99 * min(1, step / warmup_steps)
        c = f + (1 - f) * (1 + cos(pi * share)) / 2       (Loshchilov and Hutter 2017, eq. 5)

    and f the recipe's `final_learning_rate`. Both follow from what a resumed run knows: the
    optimiser's steps and the seconds spent. Validation counts as spent. Training stops with the
    batch in which the budget is spent; the epoch is then validated and booked as any other.

    Args:
        training: with `minutes` above 0; the optimiser's learning rate is a plain number.
        clock: of the run.
        warmup_steps: batches over which the learning rate rises.
    """

    def __init__(self, training: TrainingRecipe, clock: TrainingClock, warmup_steps: int) -> None:
        super().__init__()
        self.training, self.clock, self.warmup_steps = training, clock, warmup_steps

    @property
    def share(self) -> float:
        """What is spent of the budget, 0 to 1."""
        return min(1.0, self.clock.seconds / (60 * self.training.minutes))

    @property
    def minutes_left(self) -> float:
        """What is left of the budget."""
        return (1 - self.share) * self.training.minutes

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Find out how many steps were made before."""
        self._step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the learning rate."""
        self.model.optimizer.learning_rate = self.learning_rate(self._step)
        self._step += 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop when the budget is spent."""
        self._stop_if_spent()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop when validation has spent the rest."""
        self._stop_if_spent()

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step (from 0), at what is spent now."""
        warmth = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        final = self.training.final_learning_rate
        cosine = final + (1 - final) * (1 + math.cos(math.pi * self.share)) / 2
        return self.training.learning_rate * (0.01 + 0.99 * warmth) * cosine

    def _stop_if_spent(self) -> None:
        if self.share >= 1:
            self.model.stop_training = True
