"""A `.keras` file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from toolkit.inference.runtimes.by_windows import WindowRuntime
from toolkit.models.model_file import ModelInfo

if TYPE_CHECKING:
    import keras


class KerasRuntime(WindowRuntime):
    """A model in Keras, which can also show what happens inside.

    Args:
        name: for messages.
        model: core model.
        info: what it was made for.
    """

    batch_windows = 4

    def __init__(self, name: str, model: keras.Model, info: ModelInfo) -> None:
        self.name, self.model, self.info = name, model, info

    def ask(self, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        """See `WindowRuntime.ask`."""
        return self.model.predict_on_batch({"slices": batch})

    def inspect(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> dict[str, np.ndarray]:
        """As `probability`, of every output of `toolkit.models.segmenter.inspector`."""
        ask = self._inspector.predict_on_batch
        return self.maps(lambda batch: ask({"slices": batch}), images, value_range, spacing_mm)

    @cached_property
    def _inspector(self) -> keras.Model:
        from toolkit.models.segmenter import inspector

        return inspector(self.model)
