"""Runtimes that know windows on the model's grid: geometry, normalisation and the halo rule are done here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import numpy as np

from toolkit.data.grid import model_grid
from toolkit.data.intensity import normalise
from toolkit.data.windows import windows
from toolkit.errors import ModelError
from toolkit.inference.runtimes.runtime import Runtime

Ask = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class WindowRuntime(Runtime):
    """Goes through a case window by window."""

    batch_windows: int

    @abstractmethod
    def ask(self, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        """Answers of the network.

        Args:
            batch: `(batch_windows, S, size, size, modalities)`, normalised.

        Returns:
            Name to `(batch_windows, S, size, size, channels)`; `probability` is among them.
        """

    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """See `Runtime.probability`."""
        return self.maps(self.ask, images, value_range, spacing_mm)["probability"]

    def maps(
        self, ask: Ask, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> dict[str, np.ndarray]:
        """Every map that `ask` gives of a case, in the slices' own size."""
        data = self.info.recipe.data
        try:
            grid = model_grid(images.shape[:3], spacing_mm, data)
        except ValueError as error:
            raise ModelError(f"{self.name}: the scan does not fit: {error}") from error
        plan = windows(grid.n_slices, data.window.slices, data.window.halo, data.window.shuffled)
        results: dict[str, np.ndarray] = {}
        for start in range(0, len(plan), self.batch_windows):
            batch = plan[start : start + self.batch_windows]
            # Always full batches: a smaller one would make the backend compile again.
            full = [*batch, *[batch[-1]] * (self.batch_windows - len(batch))]
            slices = [grid.images(lambda wanted: normalise(images[wanted], value_range), w.slices) for w in full]
            for name, values in ask(np.stack(slices)).items():
                values = np.asarray(values)
                result = results.setdefault(name, np.zeros((*images.shape[:3], values.shape[-1]), np.float32))
                for window, maps in zip(batch, values, strict=False):
                    grid.add_back(maps[window.counts], window.slices[window.counts], result)
        return results
