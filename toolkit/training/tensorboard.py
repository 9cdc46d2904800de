"""TensorBoard: curves, and pictures of what the model does to a few validation slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolkit.data.pipeline import WindowSet
from toolkit.models.segmenter import inspector
from toolkit.pictures import heat, overlay, panel, stack, to_grey

N_PICTURES = 4


class TensorBoardLog(keras.callbacks.Callback, ABC):
    """Writes losses, metrics, learning rate and pictures after every epoch.

    The pictures show the same validation slices each time, evenly spread over the patients.

    Args:
        folder: for the event files.
        validation: windows to choose the slices from.
    """

    def __init__(self, folder: Path, validation: WindowSet) -> None:
        super().__init__()
        self.folder = folder
        self.synthetic = validation.store.index.synthetic
        chosen = np.linspace(0, len(validation) - 1, min(N_PICTURES, len(validation))).astype(int)
        loaded = [validation.load(0, int(number)) for number in chosen]
        self.slices, self.truth = (np.stack([item[part] for item in loaded]) for part in (0, 1))
        # The slice with the largest tumour, or most of the head, says most.
        self.shown = self.truth.sum(axis=(2, 3, 4)).argmax(axis=1)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Open the event file."""
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(self.folder))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write the curves' next point and the pictures."""
        import tensorflow as tf

        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        with self._writer.as_default(step=epoch + 1):
            for name, value in {**(logs or {}), "learning_rate": rate}.items():
                tf.summary.scalar(name, value)
            tf.summary.image("validation", self.pictures()[None])
        self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the event file."""
        self._writer.close()

    @abstractmethod
    def pictures(self) -> np.ndarray:
        """`(height, width, 3)` uint8, a row for each slice shown."""


class SegmenterLog(TensorBoardLog):
    """A row is MRI | enhanced | truth | prediction | attention."""

    @cached_property
    def _inspector(self) -> keras.Model:
        return inspector(self.model)

    def pictures(self) -> np.ndarray:
        """See the class."""
        outputs: dict[str, Any] = self._inspector.predict_on_batch({"slices": self.slices})
        rows = []
        for window, shown in enumerate(self.shown):
            grey = to_grey(self.slices[window, shown, ..., 0], 0, 1)
            columns = [
                ("MRI", overlay(grey, None, synthetic=self.synthetic)),
                ("enhanced", to_grey(outputs["enhanced"][window, shown, ..., 0], 0, 1)),
                ("truth", overlay(grey, None, truth=self.truth[window, shown].max(axis=-1))),
                ("prediction", overlay(grey, outputs["probability"][window, shown].max(axis=-1))),
            ]
            if "attention" in outputs:
                columns.append(("attention", heat(outputs["attention"][window, shown, ..., 0])))
            rows.append(panel(columns))
        return stack(rows)


class EnhancerLog(TensorBoardLog):
    """A row is damaged | enhanced | clean."""

    def pictures(self) -> np.ndarray:
        """See the class."""
        enhanced = self.model.predict_on_batch({"slices": self.slices})["enhanced"]
        columns = (("damaged", self.slices), ("enhanced", enhanced), ("clean", self.truth))
        rows = [
            panel([(title, to_grey(images[window, shown, ..., 0], 0, 1)) for title, images in columns])
            for window, shown in enumerate(self.shown)
        ]
        return stack(rows)
