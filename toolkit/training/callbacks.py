"""What happens beside the steps of training: history, checkpoints, early stopping, progress, Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from toolkit.files import write_csv
from toolkit.interruption import stop_if_interrupted
from toolkit.progress import progress_bar
from toolkit.training.budget import Budget, TrainingClock
from toolkit.training.state import save_state

if TYPE_CHECKING:
    from rich.progress import TaskID

# The higher the better; a run has one of them.
WATCHED = ("val_dice", "val_psnr")
Watch = Callable[[list[dict[str, Any]], float], None]


class Bookkeeper(keras.callbacks.Callback):
    """Writes history.csv, the best model and the state to resume from, and stops early.

    Best epoch and early stopping follow from the history alone, so a resumed run decides
    as an unbroken one.

    Args:
        run: folder of the run.
        history: rows of the epochs finished before, extended in place.
        clock: of the run.
        save_best: writes the model to a path.
        patience: epochs without a better validation Dice after which to stop; 0 never.
    """

    def __init__(
        self,
        run: Path,
        history: list[dict[str, Any]],
        clock: TrainingClock,
        save_best: Callable[[keras.Model, Path], None],
        patience: int,
    ) -> None:
        super().__init__()
        self.run, self.history, self.clock, self.save_best, self.patience = run, history, clock, save_best, patience

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Book an epoch; the state goes last, so what it speaks of is there."""
        schedule = self.model.optimizer.learning_rate
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        self.history.append({**row, "learning_rate": float(keras.ops.convert_to_numpy(schedule))})
        best = best_row(self.history)
        if best is self.history[-1]:
            self.save_best(self.model, self.run / "best.keras")
        write_csv(self.run / "history.csv", self.history)
        save_state(self.run / "last", self.model, self.history, self.clock.seconds)
        if self.patience and len(self.history) - best["epoch"] >= self.patience:
            self.model.stop_training = True


def best_row(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The first epoch with the highest validation Dice, or PSNR of a pre-trained enhancer."""
    watched = next(name for name in WATCHED if name in history[0])
    return history[int(np.argmax([row[watched] for row in history]))]


class Watched(keras.callbacks.Callback):
    """Shows somebody outside each finished epoch.

    Args:
        watch: called with the history and what is spent of the run, 0 to 1; what it raises ends the training.
        history: of the run.
        epochs: of the whole run, where it goes by epochs.
        budget: of the run, where it goes by the clock.
    """

    def __init__(self, watch: Watch, history: list[dict[str, Any]], epochs: int, budget: Budget | None) -> None:
        super().__init__()
        self.watch, self.history, self.epochs, self.budget = watch, history, epochs, budget

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Show the epoch, which has been booked."""
        self.watch(self.history, self.budget.share if self.budget else (epoch + 1) / self.epochs)


class Interruptible(keras.callbacks.Callback):
    """Stops with the batch, of training or validation, in which a Ctrl-C got lost."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look after each training step."""
        stop_if_interrupted()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look after each batch of validation."""
        stop_if_interrupted()


class Progress(keras.callbacks.Callback):
    """A bar for the epoch and the time left in it; a line for each finished epoch.

    Use it as a context, so that the terminal is tidy again after Ctrl-C, too.

    Args:
        steps: batches in an epoch.
        epochs: of the whole run, where it goes by epochs.
        budget: of the run, where it goes by the clock.
    """

    def __init__(self, steps: int, epochs: int, budget: Budget | None = None) -> None:
        super().__init__()
        self.steps, self.epochs, self.budget = steps, epochs, budget
        self._bar = progress_bar()
        self._task: TaskID | None = None

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's bar."""
        self._began = time.monotonic()
        if self._bar:
            self._task = self._bar.add_task(f"Epoch {self._number(epoch)}", total=self.steps)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar."""
        if self._bar and self._task is not None:
            self._bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print the epoch's line."""
        if self._bar and self._task is not None:
            self._bar.remove_task(self._task)
        seconds = time.monotonic() - self._began
        left = self.budget.minutes_left if self.budget else seconds * (self.epochs - epoch - 1) / 60
        values = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        print(f"epoch {self._number(epoch)}  {values}  {seconds:.0f} s  ({left:.0f} min left)", flush=True)

    def _number(self, epoch: int) -> str:
        return f"{epoch + 1}" if self.budget else f"{epoch + 1}/{self.epochs}"
