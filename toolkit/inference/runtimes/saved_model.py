"""A SavedModel folder, in which all that is to be done to a case lies in the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.errors import ModelError
from toolkit.inference.runtimes.runtime import Runtime, WholeCaseRuntime
from toolkit.models.model_file import not_loadable, read_info


class SavedModelRuntime(WholeCaseRuntime):
    """A model written by `bts-export --format savedmodel`; TensorFlow runs it, Keras is not needed.

    Args:
        path: the folder.

    Raises:
        ModelError: missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.info = str(path), read_info(path)
        import tensorflow as tf

        try:
            # Kept: its variables live as long as it does.
            self._loaded = tf.saved_model.load(str(path))
            self._serve = self._loaded.signatures["serving_default"]
        except Exception as error:  # TensorFlow raises many kinds on a damaged folder
            raise not_loadable(path, error, "export it again") from error

    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """See `Runtime.probability`."""
        import tensorflow as tf

        inputs = case_inputs(self, images, value_range, spacing_mm)
        return self._serve(**{name: tf.constant(values) for name, values in inputs.items()})["probability"].numpy()[0]


def case_inputs(
    runtime: Runtime, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
) -> dict[str, np.ndarray]:
    """One case as inputs of the signature `serving_default`, float32, each with a first dimension of 1.

    Args:
        runtime: whose model it is.
        images: `(slices, height, width, modalities)`, as stored.
        value_range: `(modalities, 2)` of the case.
        spacing_mm: `(slice, row, column)` distances.

    Raises:
        ModelError: the model works in mm and the spacing is unknown.
    """
    inputs = {"slices": images, "value_range": value_range}
    if runtime.info.recipe.data.spacing_mm is not None:
        if spacing_mm is None:
            raise ModelError(f"{runtime.name}: works in mm, and the spacing is unknown; give it with --spacing")
        inputs["spacing_mm"] = np.array(spacing_mm)
    return {name: np.asarray(values, np.float32)[None] for name, values in inputs.items()}
