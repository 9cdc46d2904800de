"""One predictor: raw slices in, probability in the slices' own size out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.grid import model_grid
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.regions import label_mask, tumour_probability
from toolkit.data.windows import windows
from toolkit.errors import ModelError
from toolkit.models.model_file import load_model
from toolkit.shipped import shipped_folder

if TYPE_CHECKING:
    import keras

BATCH_WINDOWS = 4
MODELS = shipped_folder("saved_models")


class Predictor:
    """A model file, ready to be asked about cases.

    Args:
        path: run folder, `.keras` file, or the name of a model in saved_models/.

    Raises:
        ModelError: there is no such model, or it can't be read.

    Example:
        predictor = Predictor(Path("runs/figshare"))
        probability = predictor.predict(case.images)
        mask = predictor.mask(probability)
    """

    def __init__(self, path: Path) -> None:
        self.path = find_model(path)
        self.model, self.info = load_model(self.path)
        if self.info.recipe.task == "enhance":
            raise ModelError(f"{self.path}: is an enhancer and marks no tumours; use bts-enhance, or another model")

    def predict(
        self,
        images: np.ndarray,
        value_range: np.ndarray | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
    ) -> np.ndarray:
        """Probability of every region in every pixel.

        Args:
            images: `(slices, height, width, modalities)`, one case, values as stored.
            value_range: `(modalities, 2)` of the case, where `images` is only a piece of it.
            spacing_mm: `(slice, row, column)` distances; needed by a model that works in mm.

        Returns:
            `(slices, height, width, regions)` float32.

        Raises:
            ModelError: the case has another number of modalities than the model, or no spacing where it needs one.
        """
        return self._run(self.model, ("probability",), images, value_range, spacing_mm)["probability"]

    def inspect(
        self,
        images: np.ndarray,
        value_range: np.ndarray | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
    ) -> dict[str, np.ndarray]:
        """What `predict` says, and what happened inside: `enhanced` and, with gates, `attention`.

        Args:
            images: as for `predict`.
            value_range: as for `predict`.
            spacing_mm: as for `predict`.

        Returns:
            Name to `(slices, height, width, channels)` float32, in the slices' own size.
        """
        return self._run(self._inspector, tuple(self._inspector.output), images, value_range, spacing_mm)

    def mask(self, probability: np.ndarray) -> np.ndarray:
        """Labels `(slices, height, width)` uint8, see `toolkit.data.regions.label_mask`."""
        return label_mask(probability, self.info.recipe.model, self.info.threshold)

    def tumour(self, probability: np.ndarray) -> np.ndarray:
        """Probability `(slices, height, width)` of being in any region."""
        return tumour_probability(probability, self.info.recipe.model)

    @cached_property
    def _inspector(self) -> keras.Model:
        from toolkit.models.segmenter import inspector

        return inspector(self.model)

    def _run(
        self,
        model: keras.Model,
        names: tuple[str, ...],
        images: np.ndarray,
        value_range: np.ndarray | None,
        spacing_mm: tuple[float, float, float] | None,
    ) -> dict[str, np.ndarray]:
        if images.shape[3] != len(self.info.modalities):
            raise ModelError(
                f"{self.path}: needs {len(self.info.modalities)} modalities ({', '.join(self.info.modalities)}), "
                f"the scan has {images.shape[3]}; give a scan with those"
            )
        data = self.info.recipe.data
        try:
            grid = model_grid(images.shape[:3], spacing_mm, data)
        except ValueError as error:
            raise ModelError(f"{self.path}: the scan does not fit: {error}") from error
        limits = intensity_range(images) if value_range is None else value_range
        plan = windows(grid.n_slices, data.window.slices, data.window.halo, data.window.shuffled)
        results: dict[str, np.ndarray] = {}
        for start in range(0, len(plan), BATCH_WINDOWS):
            batch = plan[start : start + BATCH_WINDOWS]
            # Always full batches: a smaller one would make the backend compile again.
            full = [*batch, *[batch[-1]] * (BATCH_WINDOWS - len(batch))]
            slices = [grid.images(lambda wanted: normalise(images[wanted], limits), w.slices) for w in full]
            outputs = model.predict_on_batch({"slices": np.stack(slices)})
            for name in names:
                values = np.asarray(outputs[name])
                result = results.setdefault(name, np.zeros((*images.shape[:3], values.shape[-1]), np.float32))
                for window, maps in zip(batch, values, strict=False):
                    grid.add_back(maps[window.counts], window.slices[window.counts], result)
        return results


def find_model(path: Path) -> Path:
    """The model file behind a run folder, a file, or a name in saved_models/.

    Raises:
        ModelError: there is none.
    """
    path = Path(path)
    candidates = [path / "best.keras", path]
    if path == Path(path.name) and not path.exists():
        # Only a bare name: a path that was mistyped must not find another model of the same name.
        candidates += [MODELS / path, MODELS / f"{path}.keras"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise ModelError(f"{path}: holds no best.keras; train first, e.g. bts-train figshare --out {path}")
    raise ModelError(f"{path}: no such model; give a run folder, a .keras file or a name in {MODELS.name}/")
