"""What every kind of model file, and a server, can be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator

import numpy as np

from toolkit.data.grid import Maps
from toolkit.models.model_file import ModelInfo

# Names of maps.
PROBABILITY, ENHANCED, ATTENTION, GRAD_CAM = "probability", "enhanced", "attention", "grad_cam"


class Runtime(ABC):
    """Something that answers for whole cases.

    Attributes:
        name: path or URL, for messages.
        info: what the model was made for.
        shows: names of the maps that can be had beside the probability.
    """

    name: str
    info: ModelInfo
    shows: frozenset[str] = frozenset()

    @abstractmethod
    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray,
        spacing_mm: tuple[float, float, float] | None,
        wanted: Collection[str] = (),
    ) -> Iterator[Maps]:
        """Maps of each slice of a case, from the first to the last, in the slices' own size.

        Args:
            images: `(slices, height, width, modalities)`, one case, values as stored.
            value_range: `(modalities, 2)` float32 of the case.
            spacing_mm: `(slice, row, column)` distances; for models that work in mm.
            wanted: maps beside the probability, out of `shows`.

        Yields:
            `probability` `(height, width, regions)` and what is wanted, `(height, width, channels)`, float32.

        Raises:
            ModelError: the case does not fit the model, or the runtime fails.
        """

    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """The probability of `stream` of all slices, `(slices, height, width, regions)` float32."""
        result = np.empty((*images.shape[:3], len(self.info.recipe.model.regions)), np.float32)
        for index, maps in enumerate(self.stream(images, value_range, spacing_mm)):
            result[index] = maps[PROBABILITY]
        return result


class AnotherWay(Runtime):
    """A runtime that is asked in another way.

    Args:
        runtime: what is asked.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name, self.info, self.shows = runtime.name, runtime.info, runtime.shows


class WholeCaseRuntime(Runtime):
    """A runtime that takes a whole case at once, and answers so."""

    @abstractmethod
    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """See `Runtime.probability`."""

    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray,
        spacing_mm: tuple[float, float, float] | None,
        wanted: Collection[str] = (),
    ) -> Iterator[Maps]:
        """See `Runtime.stream`."""
        for probability in self.probability(images, value_range, spacing_mm):
            yield {PROBABILITY: probability}
