"""One predictor: raw slices in, probability in the slices' own size out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.data.intensity import intensity_range
from toolkit.data.regions import label_mask, tumour_probability
from toolkit.errors import ModelError
from toolkit.inference.postprocessing import post_processed
from toolkit.inference.runtimes.runtime import Runtime
from toolkit.inference.uncertainty import calibrated
from toolkit.models.model_file import SAVED_MODEL, PostProcessing, load_model
from toolkit.shipped import shipped_folder

MODELS = shipped_folder("saved_models")
KERAS, LITE = ".keras", ".tflite"


class Predictor:
    """A model, ready to be asked about cases.

    Args:
        source: run folder, `.keras` file, SavedModel folder, `.tflite` file, the name of a model in saved_models/, or
            the URL of a model on a server (see `toolkit.inference.runtimes.server`).
        post_processing: whether masks are post-processed as the model file says.

    Attributes:
        name: path or URL.
        path: the model file or folder; None on a server.
        info: what the model was made for; its `post_processing` is the one in use.

    Raises:
        ModelError: there is no such model, it can't be read, or the server does not answer.

    Example:
        predictor = Predictor(Path("runs/figshare"))
        probability = predictor.predict(case.images)
        mask = predictor.mask(probability)
    """

    def __init__(self, source: Path | str, post_processing: bool = True) -> None:
        self.path = None if is_url(source) else find_model(Path(source))
        self._runtime = open_runtime(self.path or str(source))
        self.name, self.info = self._runtime.name, self._runtime.info
        if self.info.recipe.task == "enhance":
            raise ModelError(f"{self.name}: is an enhancer and marks no tumours; use bts-enhance, or another model")
        if not post_processing:
            self.info = self.info.model_copy(update={"post_processing": PostProcessing()})

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
        return self._runtime.probability(images, self._range(images, value_range), spacing_mm)

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

        Raises:
            ModelError: as `predict`, or the model is no `.keras` file.
        """
        from toolkit.inference.runtimes.keras_file import KerasRuntime

        if not isinstance(self._runtime, KerasRuntime):
            raise ModelError(f"{self.name}: does not show what happens inside; take the .keras file or the run folder")
        return self._runtime.inspect(images, self._range(images, value_range), spacing_mm)

    @property
    def can_inspect(self) -> bool:
        """Whether `inspect` works."""
        return self.path is not None and self.path.suffix == KERAS

    @property
    def files(self) -> list[Path]:
        """What the model consists of; nothing on a server."""
        if self.path is None or self.path.is_file():
            return [self.path] if self.path else []
        return sorted(file for file in self.path.rglob("*") if file.is_file())

    def mask(self, probability: np.ndarray, spacing_mm: tuple[float, float, float] | None = None) -> np.ndarray:
        """Labels of a whole case, see `toolkit.data.regions.label_mask`, post-processed.

        Args:
            probability: `(slices, height, width, regions)` of `predict`.
            spacing_mm: as for `predict`.

        Returns:
            `(slices, height, width)` uint8.
        """
        labels = label_mask(probability, self.info.recipe.model, self.info.threshold)
        return post_processed(labels, probability, self.info.post_processing, self.info.recipe, spacing_mm)

    def tumour(self, probability: np.ndarray) -> np.ndarray:
        """Probability `(slices, height, width)` of being in any region."""
        return tumour_probability(probability, self.info.recipe.model)

    def calibrated_tumour(self, probability: np.ndarray) -> np.ndarray:
        """As `tumour`, after the temperature of the model file: how likely it is, not what masks are made of."""
        return self.tumour(calibrated(probability, self.info.temperature, self.info.recipe.model))

    def _range(self, images: np.ndarray, value_range: np.ndarray | None) -> np.ndarray:
        wanted = self.info.modalities
        if images.shape[3] != len(wanted):
            raise ModelError(
                f"{self.name}: needs {len(wanted)} modalities ({', '.join(wanted)}), "
                f"the scan has {images.shape[3]}; give a scan with those"
            )
        return intensity_range(images) if value_range is None else value_range


def is_url(source: Path | str) -> bool:
    """Whether a model is named by the URL of a server."""
    return isinstance(source, str) and "://" in source


def open_runtime(source: Path | str) -> Runtime:
    """What can run a model.

    Args:
        source: what `find_model` found, or a URL.

    Raises:
        ModelError: it can't be read, or the server does not answer.
    """
    # Each only when it is asked for: a .tflite file needs neither TensorFlow nor Keras, a server none of them.
    if isinstance(source, str):
        from toolkit.inference.runtimes.server import ServerRuntime

        return ServerRuntime(source)
    if source.is_dir():
        from toolkit.inference.runtimes.saved_model import SavedModelRuntime

        return SavedModelRuntime(source)
    if source.suffix == LITE:
        from toolkit.inference.runtimes.lite import LiteRuntime

        return LiteRuntime(source)
    from toolkit.inference.runtimes.keras_file import KerasRuntime

    return KerasRuntime(str(source), *load_model(source))


def find_model(path: Path) -> Path:
    """The model behind a run folder, a file, a SavedModel folder, or a name in saved_models/.

    Raises:
        ModelError: there is none.
    """
    path = Path(path)
    candidates = [path / "best.keras", path]
    if path == Path(path.name) and not path.exists():
        # Only a bare name: a path that was mistyped must not find another model of the same name.
        candidates += [MODELS / path, MODELS / f"{path}{KERAS}", MODELS / f"{path}{LITE}"]
    for candidate in candidates:
        if candidate.is_file() or (candidate / SAVED_MODEL).is_file():
            return candidate
    if path.is_dir():
        raise ModelError(f"{path}: holds no best.keras; train first, e.g. bts-train figshare --out {path}")
    raise ModelError(
        f"{path}: no such model; give a run folder, a .keras or .tflite file, a SavedModel folder or a name in "
        f"{MODELS.name}/"
    )
