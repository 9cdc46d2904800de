"""What every kind of model file, and a server, can be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from toolkit.models.model_file import ModelInfo


class Runtime(ABC):
    """Something that answers for whole cases.

    Args:
        name: path or URL, for messages.
        info: what the model was made for.
    """

    name: str
    info: ModelInfo

    @abstractmethod
    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """Probability of every region in every pixel.

        Args:
            images: `(slices, height, width, modalities)`, one case, values as stored.
            value_range: `(modalities, 2)` float32 of the case.
            spacing_mm: `(slice, row, column)` distances; for models that work in mm.

        Returns:
            `(slices, height, width, regions)` float32.

        Raises:
            ModelError: the case does not fit the model, or the runtime fails.
        """
