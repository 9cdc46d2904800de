"""`bts-export`: a trained model in; SavedModel and TFLite files out, each proven to say what Keras says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from toolkit.config import check_name
from toolkit.data.grid import resize_planes
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError, StoreError, UsageError
from toolkit.files import atomic_folder, atomic_path, write_json
from toolkit.manifest import Manifest, file_checksums
from toolkit.progress import track
from toolkit.spread import evenly_spread

if TYPE_CHECKING:
    from toolkit.data.pipeline import WindowSet
    from toolkit.data.store import Store
    from toolkit.export.parity import Probe
    from toolkit.export.serving_repository import ServingRepository
    from toolkit.export.tflite import Precision, Window
    from toolkit.models.model_file import ModelInfo

Format = Literal["savedmodel", "tflite"]
# Few cases are no measure of Dice: of 8 an int8 file seemed 0.03 better than it was on all.
PROBES, PROBE_SLICES = 64, 12
CALIBRATION_WINDOWS = 64
SEED = 1


@dataclass(frozen=True)
class Target:
    """One file or folder to be written.

    Args:
        format: its kind.
        precision: of a TFLite file; a SavedModel is float32.
        plane: height and width of the slices a TFLite file takes; none: the model's grid.
    """

    format: Format
    precision: Precision = "float32"
    plane: tuple[int, int] | None = None

    def file_name(self, name: str) -> str:
        """What it is called."""
        if self.format == "savedmodel":
            return name
        size = "_{}x{}".format(*self.plane) if self.plane else ""
        return f"{name}_{self.precision}{size}.tflite"


def export(
    model: Path,
    targets: Sequence[Target],
    out: Path,
    data: Path | None = None,
    serving: Path | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Write a model in other formats, and compare each with Keras before it takes its place.

    Into `out`: `NAME/` (SavedModel), `NAME_PRECISION[_HxW].tflite`, parity.json, MODEL_CARD.md and manifest.json.

    Args:
        model: run folder, `.keras` file, or the name of a model in saved_models/.
        targets: what to write.
        out: folder for the results.
        data: store whose validation patients both are asked about and whose training patients int8 is calibrated on;
            none: phantoms made on the spot.
        serving: model repository of TensorFlow Serving that gets the SavedModel as its next version.
        name: of the model; none: that of its recipe.

    Returns:
        The content of parity.json: for each file its size and how far it is from Keras.

    Raises:
        ModelError: the model can't be read or exported, or an export misses its tolerance; it is then not written.
        StoreError: the store does not fit the model.
        UsageError: targets that can't be had of this model.
        OutputError: `out` can't be written.
    """
    manifest = Manifest(SEED)
    from toolkit.inference.predictor import find_model
    from toolkit.models.model_file import read_info

    path = find_model(model)
    info = read_info(path)
    name = name or info.recipe.name
    check_name(name)
    _refuse_impossible(targets, info, data, serving)
    if serving is not None:
        from toolkit.export.serving_repository import ServingRepository

        repository = ServingRepository(serving, name)
    exporter = _Exporter(path, data)
    report: dict[str, Any] = {"model": str(path), "asked_about": exporter.asked_about, "exports": {}}
    failed: list[str] = []
    for target in targets:
        row = exporter.write(target, out / target.file_name(name))
        report["exports"][target.file_name(name)] = row
        if not row["passed"]:
            failed.append(_failure(target.file_name(name), row))
    write_json(out / "parity.json", report)
    if failed:
        raise ModelError(f"{out}: {'; '.join(failed)}: not written (all numbers are in parity.json)")
    with atomic_path(out / "MODEL_CARD.md") as partial:
        partial.write_text(exporter.card, encoding="utf-8")
    if serving is not None:
        report["serving"] = str(_serve(repository, out / name, info, manifest))
    write_json(out / "manifest.json", manifest.content(model=file_checksums([path])))
    return report


def _refuse_impossible(targets: Sequence[Target], info: ModelInfo, data: Path | None, serving: Path | None) -> None:
    """Tell what can't be done before anything is computed."""
    if serving is not None and not any(target.format == "savedmodel" for target in targets):
        raise UsageError("--serving: TensorFlow Serving takes a SavedModel; add --format savedmodel")
    if any(target.precision == "int8" for target in targets) and data is None:
        raise UsageError("--precision int8: needs --data STORE, the one the model was trained on, to calibrate with")
    if any(target.plane for target in targets) and info.recipe.data.spacing_mm is not None:
        raise UsageError("--size: this model works in mm, so slices of one size differ in scale; leave --size out")


class _Missed(Exception):
    """An export is too far from Keras to be written."""


class _Exporter:
    """Writes exports of one model and asks each what Keras was asked."""

    def __init__(self, path: Path, data: Path | None) -> None:
        from toolkit.data.store import Store
        from toolkit.export.float32_model import float32_model
        from toolkit.export.model_card import model_card
        from toolkit.export.parity import rescaled
        from toolkit.export.run_facts import read_run_facts
        from toolkit.inference.runtimes.keras_file import KerasRuntime

        self.model, self.info = float32_model(path)
        self.card = model_card(self.info, read_run_facts(path))
        self.store = Store(data) if data is not None else None
        if self.store is not None:
            _refuse_other_store(self.store, self.info, path)
        cases = list(_probes_of_store(self.store, self.info) if self.store else _probes_of_phantoms(self.info))
        self.probes: list[Probe] = [*cases, *map(rescaled, cases)]
        where = f"validation patients of {self.store.path}" if self.store else "phantoms"
        self.asked_about = f"{len(cases)} cases, {where}; each also as 16 x + 100"
        self._keras = KerasRuntime(str(path), self.model, self.info)
        self._reference = self._say(self.probes)

    def write(self, target: Target, path: Path) -> dict[str, Any]:
        """Write one export if it passes; its row of parity.json."""
        row: dict[str, Any] = {}
        try:
            if target.format == "savedmodel":
                self._write_saved_model(path, row)
            else:
                self._write_tflite(target, path, row)
        except _Missed:
            return {**row, "passed": False}
        return row

    def _write_saved_model(self, path: Path, row: dict[str, Any]) -> None:
        from toolkit.export.parity import judge_parity
        from toolkit.export.saved_model import write_saved_model
        from toolkit.export.saved_model_process import SavedModelProcess
        from toolkit.inference.runtimes.saved_model import SavedModelRuntime
        from toolkit.models.model_file import SAVED_MODEL

        with atomic_folder(path, lambda earlier: (earlier / SAVED_MODEL).is_file()) as partial:
            write_saved_model(self.model, self.info, self.card, partial)
            row |= judge_parity("float32", self._reference, SavedModelRuntime(partial), self.probes)
            alone = SavedModelProcess(partial, self.probes)
            row["with_tensorflow_alone"] = judge_parity("float32", self._reference, alone, self.probes)
            row["bytes"] = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
            if not (row["passed"] and row["with_tensorflow_alone"]["passed"]):
                raise _Missed

    def _write_tflite(self, target: Target, path: Path, row: dict[str, Any]) -> None:
        from toolkit.export.parity import judge_parity
        from toolkit.export.tflite import tflite_model
        from toolkit.inference.runtimes.lite import LiteRuntime

        calibration = self._calibration(target.plane) if target.precision == "int8" else None
        content = tflite_model(self.model, self.info, self.card, target.precision, target.plane, calibration)
        probes, reference = self.probes, self._reference
        if target.plane is not None:
            probes = [_resized(probe, target.plane) for probe in probes]
            reference = self._say(probes)
        with atomic_path(path) as partial:
            partial.write_bytes(content)
            row |= judge_parity(target.precision, reference, LiteRuntime(partial), probes)
            row["bytes"] = len(content)
            if not row["passed"]:
                raise _Missed

    def _say(self, probes: Sequence[Probe]) -> list[np.ndarray]:
        return [self._keras.probability(p.images, p.value_range, p.spacing_mm) for p in probes]

    def _calibration(self, plane: tuple[int, int] | None) -> Callable[[], Iterator[Window]]:
        """Windows of training patients, spread over all of them."""
        store, info = self.store, self.info
        assert store is not None
        from toolkit.data.pipeline import WindowSet

        training = WindowSet(store, "train", info.recipe, augment=False)
        of_cases = [list(its) for _, its in groupby(range(len(training)), lambda n: training.windows[n][0])]
        chosen = np.unique(np.linspace(0, len(of_cases) - 1, CALIBRATION_WINDOWS).astype(int))

        def windows_of_training() -> Iterator[Window]:
            for its in track([of_cases[case] for case in chosen], "Calibrating", len(chosen)):
                yield _window(training, its[len(its) // 2], plane)

        return windows_of_training


def _window(training: WindowSet, number: int, plane: tuple[int, int] | None) -> Window:
    """A window as a TFLite file takes it, and its range."""
    from toolkit.inference.runtimes.lite import AS_THEY_ARE

    span, _, window = training.windows[number]
    limits = np.array(span.case.intensity_range, np.float32)
    if plane is not None:
        images, _ = training.store.read(span.case, span.start + window.slices)
        return resize_planes(images, *plane)[None], limits[None]
    on_grid, _, _ = training.load(0, number)
    return on_grid[None], np.tile(np.array(AS_THEY_ARE, np.float32), (1, len(limits), 1))


def _refuse_other_store(store: Store, info: ModelInfo, path: Path) -> None:
    """Refuse a store other than that of the training: whose patients are whose would not be known."""
    if store.index.checksums_sha256 != info.data_checksums_sha256:
        raise StoreError(f"{store.path}: is not the store that {path} was trained on; give --data that one, or none")


def _probes_of_store(store: Store, info: ModelInfo) -> Iterator[Probe]:
    """Cases spread over the validation part, of each the slices around the middle."""
    from toolkit.export.parity import Probe

    spans = store.spans_of(info.recipe, "val")
    for index in evenly_spread(len(spans), PROBES):
        span = spans[index]
        first = span.start + max(0, (span.n_slices - PROBE_SLICES) // 2)
        images, truth = store.read(span.case, range(first, min(span.stop, first + PROBE_SLICES)))
        limits = np.array(span.case.intensity_range, np.float32)
        yield Probe(span.case.case, images, limits, span.case.spacing_mm, truth)


def _probes_of_phantoms(info: ModelInfo) -> Iterator[Probe]:
    """Phantoms; of several modalities all are shown the same."""
    from toolkit.data.sources.phantom import phantom_cases
    from toolkit.export.parity import Probe

    cases = phantom_cases(2, SEED, info.recipe.data.image_size, PROBE_SLICES)
    for case in islice(cases, PROBES):
        images = np.repeat(case.images, len(info.modalities), axis=-1)
        yield Probe(case.case, images, intensity_range(images), case.spacing_mm, case.mask)


def _resized(probe: Probe, plane: tuple[int, int]) -> Probe:
    """A case as if its slices had been taken at another size; its truth does not come along."""
    return probe._replace(images=resize_planes(probe.images, *plane), truth=None)


def _failure(name: str, row: dict[str, Any]) -> str:
    """A line about an export that missed its tolerance."""
    rows = [row, row.get("with_tensorflow_alone", row)]
    worst = max(rows, key=lambda r: r["off_by"])
    return (
        f"{name} is too far from Keras (by {worst['off_by']:.2g} in {worst['judged_by']}, "
        f"allowed are {worst['tolerance']:g})"
    )


def _serve(repository: ServingRepository, saved_model: Path, info: ModelInfo, manifest: Manifest) -> Path:
    """Measure throughput and add the SavedModel to the repository."""
    import tensorflow as tf

    from toolkit.export.throughput import measure_throughput
    from toolkit.export.warmup import case_shape

    loaded = tf.saved_model.load(str(saved_model))
    serve = loaded.signatures["serving_default"]
    more = {}
    if info.recipe.data.spacing_mm is not None:
        more["spacing_mm"] = tf.constant([info.recipe.data.spacing_mm], tf.float32)

    def predict(slices: np.ndarray) -> object:
        unknown = tf.fill((len(slices), len(info.modalities), 2), np.float32(np.nan))
        return serve(slices=tf.constant(slices), value_range=unknown, **more)["probability"].numpy()

    return repository.add(saved_model, info, measure_throughput(predict, case_shape(info)), manifest)
