"""One predictor: raw slices in, probability in the slices' own size out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.data.grid import Maps
from toolkit.data.intensity import intensity_range
from toolkit.data.regions import label_mask, tumour_probability
from toolkit.errors import ModelError
from toolkit.inference.mirrored import Mirrored
from toolkit.inference.postprocessing import likeliest_labels, post_processed
from toolkit.inference.runtimes.runtime import PROBABILITY, Runtime
from toolkit.inference.tiles import Tiled
from toolkit.inference.uncertainty import calibrated
from toolkit.models.model_file import SAVED_MODEL, ModelInfo, PostProcessing, load_model
from toolkit.shipped import shipped_folder

MODELS = shipped_folder("saved_models")
KERAS, LITE = ".keras", ".tflite"
# One, or several that answer together.
Model = Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class Settings:
    """How a model is asked, and what becomes of its answer.

    Args:
        post_processing: whether masks are post-processed as the model file says.
        flips: whether each model is asked about the mirrored case, too.
        dropout_samples: how often each model is asked with its dropout on, besides; needs `.keras` files.
        tiles: whether slices larger than the model's grid are looked at in tiles of full resolution.
    """

    post_processing: bool = True
    flips: bool = False
    dropout_samples: int = 0
    tiles: bool = False


AS_IT_IS = Settings()


class Opinions(NamedTuple):
    """What all members say of one slice.

    Args:
        probability: `(members, height, width, regions)` float32.
        maps: of the first member, what was asked for besides, `(height, width, channels)` each.
    """

    probability: np.ndarray
    maps: Maps


class Predictor:
    """A model, or several that answer together, ready to be asked about cases.

    Each way of asking (another model, mirrored, with dropout on) is a member; their mean is the answer, and how far
    they are apart is told beside it. Of several models the first one says what threshold, post-processing and
    temperature are.

    Args:
        source: run folder, `.keras` file, SavedModel folder, `.tflite` file, the name of a model in saved_models/, or
            the URL of a model on a server (see `toolkit.inference.runtimes.server`); or several of them.
        settings: how they are asked.

    Attributes:
        name: paths or URLs.
        info: what the first model was made for; its `post_processing` is the one in use.
        shows: names of the maps that can be had beside the probability.

    Raises:
        ModelError: there is no such model, it can't be read, it can't be asked so, the server does not answer, or
            models do not fit together.

    Example:
        predictor = Predictor(Path("runs/figshare"))
        probability = predictor.predict(case.images)
        mask = predictor.mask(probability)
    """

    def __init__(self, source: Model, settings: Settings = AS_IT_IS) -> None:
        sources = [source] if isinstance(source, Path | str) else list(source)
        found = [str(one) if is_url(one) else find_model(Path(one)) for one in sources]
        self._paths = [one for one in found if isinstance(one, Path)]
        runtimes = [open_runtime(one) for one in found]
        self.name, self.info, self.shows = " + ".join(r.name for r in runtimes), runtimes[0].info, runtimes[0].shows
        for runtime in runtimes:
            _refuse_another_kind(runtimes[0], runtime)
        if len(runtimes) > 1:
            self.info = _joint_info([runtime.info for runtime in runtimes])
        self._members = [member for runtime in runtimes for member in _members(runtime, settings)]
        if not settings.post_processing:
            self.info = self.info.model_copy(update={"post_processing": PostProcessing()})

    def stream(
        self,
        images: np.ndarray,
        value_range: np.ndarray | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        wanted: Collection[str] = (),
    ) -> Iterator[Opinions]:
        """What each member says of one slice after another; memory does not grow with the number of slices.

        Args:
            images: `(slices, height, width, modalities)`, one case, values as stored.
            value_range: `(modalities, 2)` of the case, where `images` is only a piece of it.
            spacing_mm: `(slice, row, column)` distances; needed by a model that works in mm.
            wanted: maps beside the probability, out of `shows`.

        Raises:
            ModelError: the case has another number of modalities than the model, or no spacing where it needs one; or
                the model does not show what is wanted.
        """
        if missing := set(wanted) - self.shows:
            raise ModelError(
                f"{self.name}: does not show {', '.join(sorted(missing))}; take the .keras file or the run folder"
            )
        limits = self._range(images, value_range)
        first, *others = self._members
        streams = [first.stream(images, limits, spacing_mm, wanted)]
        streams += [member.stream(images, limits, spacing_mm) for member in others]
        for slices in zip(*streams, strict=True):
            maps = {name: values for name, values in slices[0].items() if name != PROBABILITY}
            yield Opinions(np.stack([one[PROBABILITY] for one in slices]), maps)

    def predict(
        self,
        images: np.ndarray,
        value_range: np.ndarray | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
    ) -> np.ndarray:
        """Probability of every region in every pixel: the mean of all members.

        Args:
            images: as for `stream`.
            value_range: as for `stream`.
            spacing_mm: as for `stream`.

        Returns:
            `(slices, height, width, regions)` float32.

        Raises:
            ModelError: as `stream`.
        """
        result = np.empty((*images.shape[:3], len(self.info.recipe.model.regions)), np.float32)
        for index, opinions in enumerate(self.stream(images, value_range, spacing_mm)):
            result[index] = opinions.probability.mean(axis=0)
        return result

    def inspect(
        self,
        images: np.ndarray,
        value_range: np.ndarray | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        wanted: Collection[str] = (),
    ) -> dict[str, np.ndarray]:
        """What `predict` says, and other maps.

        Args:
            images: as for `stream`.
            value_range: as for `stream`.
            spacing_mm: as for `stream`.
            wanted: as for `stream`.

        Returns:
            Name to `(slices, height, width, channels)` float32, in the slices' own size.

        Raises:
            ModelError: as `stream`.
        """
        slices = [
            {PROBABILITY: opinions.probability.mean(axis=0), **opinions.maps}
            for opinions in self.stream(images, value_range, spacing_mm, wanted)
        ]
        return {name: np.stack([maps[name] for maps in slices]) for name in slices[0]}

    @property
    def n_members(self) -> int:
        """Answers whose mean is taken."""
        return len(self._members)

    @property
    def files(self) -> list[Path]:
        """What the models consist of; nothing on a server."""
        return sorted(
            file for path in self._paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
        )

    def mask(self, probability: np.ndarray, spacing_mm: tuple[float, float, float] | None = None) -> np.ndarray:
        """Labels of a whole case, see `toolkit.data.regions.label_mask`, post-processed.

        Args:
            probability: `(slices, height, width, regions)` of `predict`.
            spacing_mm: as for `predict`.

        Returns:
            `(slices, height, width)` uint8.
        """
        model = self.info.recipe.model
        labels, likeliest = label_mask(probability, model, self.info.threshold), likeliest_labels(probability, model)
        return post_processed(labels, likeliest, self.info.post_processing, self.info.recipe, spacing_mm)

    def tumour(self, probability: np.ndarray) -> np.ndarray:
        """Probability `(slices, height, width)` of being in any region."""
        return tumour_probability(probability, self.info.recipe.model)

    def calibrated_tumour(self, probability: np.ndarray) -> np.ndarray:
        """As `tumour`, calibrated as the model file says: how likely it is, not what masks are made of."""
        info = self.info
        return self.tumour(calibrated(probability, info.temperature, info.recipe.model, info.offsets))

    def _range(self, images: np.ndarray, value_range: np.ndarray | None) -> np.ndarray:
        wanted = self.info.modalities
        if images.shape[3] != len(wanted):
            raise ModelError(
                f"{self.name}: needs {len(wanted)} modalities ({', '.join(wanted)}), "
                f"the scan has {images.shape[3]}; give a scan with those"
            )
        return intensity_range(images) if value_range is None else value_range


def _joint_info(infos: list[ModelInfo]) -> ModelInfo:
    """What the first says, but for whom any of them has learned from; and what training scans are like, says the first
    that knows."""
    groups = {group for info in infos for group in info.training_patient_groups}
    return infos[0].model_copy(
        update={
            "training_patient_groups": tuple(sorted(groups)),
            "synthetic_data": any(info.synthetic_data for info in infos),
            "familiarity": next((info.familiarity for info in infos if info.familiarity), None),
        }
    )


def _refuse_another_kind(first: Runtime, other: Runtime) -> None:
    """Refuse models whose answers can't be averaged."""
    for what, ours, theirs in (
        ("modalities", first.info.modalities, other.info.modalities),
        ("labels", first.info.label_map, other.info.label_map),
        ("regions", first.info.recipe.model.regions, other.info.recipe.model.regions),
        ("kind of regions", first.info.recipe.model.exclusive, other.info.recipe.model.exclusive),
    ):
        if ours != theirs:
            raise ModelError(f"{other.name}: has other {what} than {first.name}, so they can't answer together")


def _members(runtime: Runtime, settings: Settings) -> list[Runtime]:
    """A model in each way it is asked, as it is first."""
    ways = [runtime]
    if settings.dropout_samples:
        from toolkit.inference.runtimes.keras_file import KerasRuntime

        if not isinstance(runtime, KerasRuntime):
            raise ModelError(f"{runtime.name}: exported models have no dropout; take the .keras file or the run folder")
        from toolkit.inference.dropout import Dropout

        ways += [Dropout(runtime, sample) for sample in range(1, settings.dropout_samples + 1)]
    if settings.tiles:
        ways = [Tiled(way) for way in ways]
    return [*ways, *map(Mirrored, ways)] if settings.flips else ways


def is_url(source: Path | str) -> bool:
    """Whether a model is named by the URL of a server."""
    return isinstance(source, str) and "://" in source


def open_runtime(source: Path | str) -> Runtime:
    """What can run a model.

    Args:
        source: what `find_model` found, or a URL.

    Raises:
        ModelError: it can't be read, it marks no tumours, or the server does not answer.
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

    model, info = load_model(source)
    if info.recipe.task == "enhance":
        raise ModelError(f"{source}: is an enhancer and marks no tumours; use bts-enhance, or another model")
    return KerasRuntime(str(source), model, info)


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
