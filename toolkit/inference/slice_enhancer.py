"""The enhancer of a model alone: raw slices in, enhanced slices in the same size, units and type out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.windows import windows
from toolkit.errors import ModelError
from toolkit.inference.predictor import find_model
from toolkit.models.model_file import ModelInfo, load_model, read_info

if TYPE_CHECKING:
    import keras

MULTIPLE = 16  # of pixels, which height and width of the network must be
BATCH_PIXELS = 2**22  # so that a batch of large slices takes no more memory than one of small slices


class SliceEnhancer:
    """The enhancer of a model file, at the own resolution of whatever scan it is given.

    Args:
        path: run folder, `.keras` file, or the name of a model in saved_models/: an enhancer that was
            pre-trained on its own, or a segmenter that has one.

    Raises:
        ModelError: there is no such model, it can't be read, or it has no enhancer.

    Example:
        enhancer = SliceEnhancer(Path("runs/enhancer_lgg"))
        enhanced = enhancer.enhance(case.images)
    """

    def __init__(self, path: Path) -> None:
        self.path, self.info = find_enhancer(path)
        self._trained, _ = load_model(self.path)
        self._model: keras.Model | None = None

    def enhance(
        self, images: np.ndarray, value_range: np.ndarray | None = None, dtype: np.dtype | None = None
    ) -> np.ndarray:
        """Slices with the network's correction added, in the scan's own units.

        The network sees values clipped by the normalisation; what lies beyond keeps its value but for the
        correction, since that is all that is added.

        Args:
            images: `(slices, height, width, modalities)`, one case, values as stored.
            value_range: `(modalities, 2)` of the case, where `images` is not quite it.
            dtype: of the result; that of `images` where None.

        Returns:
            `(slices, height, width, modalities)`, of integer type rounded and clipped to what it can hold.

        Raises:
            ModelError: the case has another number of modalities than the model.
        """
        n_slices, height, width, modalities = images.shape
        if modalities != len(self.info.modalities):
            raise ModelError(
                f"{self.path}: needs {len(self.info.modalities)} modalities ({', '.join(self.info.modalities)}), "
                f"the scan has {modalities}; give a scan with those"
            )
        window = self.info.recipe.data.window
        limits = intensity_range(images) if value_range is None else value_range
        scale = (limits[:, 1] - limits[:, 0]).astype(np.float64)
        model, pad = self._network(height, width), ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
        plan = windows(n_slices, window.slices, window.halo, window.shuffled)
        size = max(1, min(len(plan), BATCH_PIXELS // (window.slices * height * width)))
        result = np.empty(images.shape, images.dtype if dtype is None else dtype)
        for start in range(0, len(plan), size):
            batch = plan[start : start + size]
            # Always full batches: a smaller one would make the backend compile again.
            full = [*batch, *[batch[-1]] * (size - len(batch))]
            seen = np.stack([np.pad(normalise(images[w.slices], limits), pad, mode="symmetric") for w in full])
            enhanced = np.asarray(model.predict_on_batch({"slices": seen})["enhanced"])
            correction = (enhanced - seen)[:, :, :height, :width]
            for w, change in zip(batch, correction, strict=False):
                for index, added in zip(w.slices[w.counts], change[w.counts], strict=True):
                    result[index] = to_type(images[index] + added * scale, result.dtype)
        return result

    def _network(self, height: int, width: int) -> keras.Model:
        """The network for slices of this size, padded; that of the last scan is kept."""
        from toolkit.models.enhancer import resized_enhancer

        recipe = self.info.recipe
        padded = (height + -height % MULTIPLE, width + -width % MULTIPLE)
        shape = (recipe.data.window.slices, *padded, len(self.info.modalities))
        if self._model is None or self._model.input["slices"].shape[1:] != shape:
            self._model = resized_enhancer(self._trained, recipe.model.enhancer, shape)
        return self._model


def find_enhancer(path: Path) -> tuple[Path, ModelInfo]:
    """The model file behind a path or name, and what it was made for; Keras is not needed.

    Raises:
        ModelError: there is no such model, it can't be read, or it has no enhancer.
    """
    found = find_model(path)
    info = read_info(found)
    if info.recipe.model.enhancer.kind == "none":
        raise ModelError(f"{found}: has no enhancer (model.enhancer.kind is none); give a model that has one")
    return found, info


def double_in_plane(images: np.ndarray) -> np.ndarray:
    """Slices interpolated (cubic) to twice the height and width; the corners of the outer pixels stay in place.

    Args:
        images: `(slices, height, width, modalities)`, real.

    Returns:
        `(slices, 2 * height, 2 * width, modalities)`, float32, or float64 where that is needed to hold the
        values; within the range of each slice and modality, so that edges do not ring beyond it.
    """
    n_slices, height, width, modalities = images.shape
    doubled = np.empty((n_slices, 2 * height, 2 * width, modalities), np.result_type(images.dtype, np.float32))
    for index in np.ndindex(n_slices, modalities):
        one = np.ascontiguousarray(images[index[0], ..., index[1]], doubled.dtype)
        larger = cv2.resize(one, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
        doubled[index[0], ..., index[1]] = np.clip(larger, one.min(), one.max())
    return doubled


def to_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in another type; of integers rounded and clipped to what the type can hold."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        # Of 8-bit integers NumPy would make half floats, which can't hold the limits.
        values = np.rint(values, dtype=np.result_type(values.dtype, np.float32))
        values = np.clip(values, limits.min, limits.max)
    return values.astype(dtype)
