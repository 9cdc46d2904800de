"""Model files that know what they were made for.

Each holds `bts.json`, so that a lone file says which modalities, labels and window rule it needs, also to readers
without Keras: a `.keras` file is a zip, where it is one more entry; a `.tflite` file has a zip behind its end, as the
metadata of TensorFlow Lite does; a SavedModel folder has it among its assets.
"""

from __future__ import annotations

import pkgutil
import shutil
import zipfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit import __version__, layers
from toolkit.config import Recipe
from toolkit.data.familiarity import FEATURES, Familiarity
from toolkit.errors import ModelError
from toolkit.files import atomic_path

if TYPE_CHECKING:
    import keras

ENTRY = "bts.json"
SAVED_MODEL = "saved_model.pb"
MAX_ENTRY_BYTES = 2**20
DEFAULT_THRESHOLD = 0.5


class PostProcessing(BaseModel):
    """What is done to the mask of the tumour, all regions together, once the threshold has made it; by default nothing.

    See `toolkit.inference.postprocessing`.

    Args:
        smallest_component: components whose largest section in a slice covers less than this share of the model's grid
            are taken out.
        fill_holes: holes within a slice are tumour.
        largest_only: only the largest component of a case is kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    smallest_component: float = Field(0.0, ge=0, lt=1)
    fill_holes: bool = False
    largest_only: bool = False


class ModelInfo(BaseModel):
    """What a model was made for.

    Args:
        recipe: of the run.
        modalities: channels of a slice, in order.
        label_map: label names and values of the mask.
        data_kind: kind of the store it was trained on.
        data_checksums_sha256: shards of that store.
        training_patient_groups: who the model has learned from, so that nobody judges it on them.
        synthetic_data: trained on phantoms, so of no use on people.
        threshold: probability from which a pixel is tumour.
        post_processing: what is done to the mask then.
        temperature: by which logits are divided before certainty is told of, see `toolkit.inference.uncertainty`. Masks
            are made of the probability as the network gives it: so it changes no mask, no exported graph, and not what
            the threshold means.
        offsets: what is added to logits then; one, or of exclusive regions one each; none: 0.
        familiarity: what the scans it was trained on are like, to tell those that are not; None where unknown.
        version: of the toolkit that wrote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: Recipe
    modalities: tuple[str, ...]
    label_map: dict[str, int]
    data_kind: str
    data_checksums_sha256: dict[str, str]
    training_patient_groups: tuple[str, ...] = ()
    synthetic_data: bool
    threshold: float = DEFAULT_THRESHOLD
    post_processing: PostProcessing = PostProcessing()
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    offsets: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()
    familiarity: Familiarity | None = None
    version: str = __version__

    @model_validator(mode="after")
    def _familiar_in_all_modalities(self) -> ModelInfo:
        if self.familiarity and len(self.familiarity.mean) != FEATURES * len(self.modalities):
            raise ValueError("familiarity: is of other modalities")
        return self

    @property
    def mask_labels(self) -> dict[str, int]:
        """Name and value of each label in the masks the model writes.

        A region that is one label, or leaves one to those painted before, is named as that label.
        """
        model = self.recipe.model
        names = {value: name for name, value in self.label_map.items()}
        painted = zip(model.regions, model.regions.values(), model.painted_labels, strict=True)
        return {names.get(label, region) if labels else region: label for region, labels, label in painted}


def save_model(model: keras.Model, path: Path, info: ModelInfo) -> None:
    """Write model and information as one `.keras` file, atomically, without the optimiser.

    Raises:
        OutputError: the file can't be written.
    """
    import keras

    # The same layers, never compiled: Keras saves the optimiser of a compiled model, four times the size.
    plain = keras.Model(model.input, model.output, name=model.name)
    with atomic_path(path) as partial:
        plain.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(ENTRY, info.model_dump_json(indent=2))


def replace_info(path: Path, info: ModelInfo) -> None:
    """Give a `.keras` file other information, atomically; the model in it stays as it is.

    Raises:
        OutputError: the file can't be written.
        ModelError: it is damaged.
    """
    with atomic_path(path) as partial:
        try:
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(partial, "w") as new:
                for entry in old.infolist():
                    if entry.filename != ENTRY:
                        with old.open(entry) as source, new.open(entry, "w") as target:
                            shutil.copyfileobj(source, target)
                new.writestr(ENTRY, info.model_dump_json(indent=2))
        except zipfile.BadZipFile as error:
            raise ModelError(f"{path}: damaged; train it again") from error


def read_info(path: Path) -> ModelInfo:
    """What a `.keras` file, a `.tflite` file or a SavedModel folder says of itself; Keras is not needed.

    Raises:
        ModelError: missing, no model file, or not written by this toolkit.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such model; give a run folder or a model file written by bts-train or bts-export")
    try:
        if path.is_dir():
            with (path / "assets" / ENTRY).open("rb") as file:
                return ModelInfo.model_validate_json(file.read(MAX_ENTRY_BYTES))
        with zipfile.ZipFile(path) as archive, archive.open(ENTRY) as entry:
            return ModelInfo.model_validate_json(entry.read(MAX_ENTRY_BYTES))
    except Exception as error:  # zipfile raises many kinds on a damaged file
        raise ModelError(f"{path}: no model of this toolkit, or damaged; train or export it again") from error


def load_model(path: Path) -> tuple[keras.Model, ModelInfo]:
    """Read a model and what it was made for.

    Raises:
        ModelError: missing or damaged.
    """
    info = read_info(path)
    if path.suffix != ".keras":
        raise ModelError(f"{path}: is no .keras file, which this needs; give a run folder or a .keras file")
    import keras

    _register_layers()
    try:
        return keras.saving.load_model(path, compile=False), info
    except Exception as error:  # Keras raises many kinds on a damaged file
        raise not_loadable(path, error, "train it again with bts-train") from error


def not_loadable(path: Path, error: Exception, remedy: str) -> ModelError:
    """What a user is told of a file that the library behind it can't load.

    Args:
        path: model file or folder.
        error: what the library said, often at length.
        remedy: what to do.
    """
    return ModelError(f"{path}: can't be loaded ({' '.join(str(error).split())[:200]}); {remedy}")


def _register_layers() -> None:
    """Make Keras know every layer of ours: importing one registers it."""
    for module in pkgutil.iter_modules(layers.__path__, f"{layers.__name__}."):
        import_module(module.name)
