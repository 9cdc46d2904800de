"""A `.tflite` file, run by LiteRT: neither TensorFlow nor Keras is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toolkit.cores import usable_cores
from toolkit.data.windows import windows
from toolkit.errors import ModelError
from toolkit.inference.runtimes.by_windows import WindowRuntime
from toolkit.models.model_file import not_loadable, read_info

# Slices on the model's grid come normalised: this range leaves them as they are.
AS_THEY_ARE = (0.0, 1.0)


class LiteRuntime(WindowRuntime):
    """A model written by `bts-export --format tflite`.

    A file for slices of the scan's size takes them as stored, and does geometry and normalisation itself. A file for
    the model's grid takes any scan, brought to the grid here.

    Args:
        path: the file.

    Raises:
        ModelError: missing or damaged, or LiteRT is not installed.
    """

    batch_windows = 1

    def __init__(self, path: Path) -> None:
        self.name, self.info = str(path), read_info(path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelError(f"{path}: needs LiteRT to run: pip install ai-edge-litert") from error
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=max(1, int(usable_cores())))
            self._run = interpreter.get_signature_runner("serving_default")
            _, _, *self.plane, _ = self._run.get_input_details()["slices"]["shape"].tolist()
        except Exception as error:  # ValueError, RuntimeError and others on a damaged file
            raise not_loadable(path, error, "export it again") from error

    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """See `Runtime.probability`."""
        size = self.info.recipe.data.image_size
        if list(images.shape[1:3]) == self.plane and self.plane != [size, size]:
            return self._as_stored(images, value_range)
        if self.plane != [size, size]:
            made, wanted = ("x".join(map(str, plane)) for plane in (self.plane, images.shape[1:3]))
            raise ModelError(
                f"{self.name}: is for slices of {made} pixels, the scan has {wanted}; export with --size {wanted}, or "
                "without --size for scans of any size"
            )
        return super().probability(images, value_range, spacing_mm)

    def ask(self, batch: np.ndarray) -> Mapping[str, np.ndarray]:
        """See `WindowRuntime.ask`."""
        return self._run(slices=batch, value_range=np.tile(np.array(AS_THEY_ARE, np.float32), (1, batch.shape[-1], 1)))

    def _as_stored(self, images: np.ndarray, value_range: np.ndarray) -> np.ndarray:
        window, limits = self.info.recipe.data.window, value_range[None].astype(np.float32)
        result = np.zeros((*images.shape[:3], len(self.info.recipe.model.regions)), np.float32)
        for part in windows(len(images), window.slices, window.halo):
            slices = images[part.slices][None].astype(np.float32)
            maps = self._run(slices=slices, value_range=limits)["probability"][0]
            result[part.slices[part.counts]] = maps[part.counts]
        return result
