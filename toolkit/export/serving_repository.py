"""A folder that TensorFlow Serving serves: versions of a model, and all that it takes to run the server."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from toolkit.config import check_name
from toolkit.errors import ModelError
from toolkit.export import batching
from toolkit.export.rendering import render
from toolkit.export.throughput import Throughput
from toolkit.export.version_labels import VersionLabels
from toolkit.export.warmup import case_shape, write_warmup
from toolkit.files import atomic_path, write_json
from toolkit.manifest import Manifest
from toolkit.models.model_file import ModelInfo

PACKAGE = "tensorflow-serving-api"
# Written once: whoever runs the server changes them.
OPERATORS = ("monitoring.config", "compose.yaml", "proxy.conf", "kubernetes.yaml")
MEASURED_WHERE = "measured in-process, not on the server itself"


class ServingRepository:
    """A model repository, opened to add a version of one model.

    Args:
        path: the folder; made if it does not exist.
        name: of the model on the server, part of its URL.

    Raises:
        UsageError: the name can't be part of a URL.
        ModelError: tensorflow-serving-api is not installed, `models.config` there can't be read, or a version is
            still on trial.

    Example:
        repository = ServingRepository(Path("serving"), "figshare")   # before anything long is done
        repository.add(saved_model, info, measured, manifest)         # serving/figshare/1
    """

    def __init__(self, path: Path, name: str) -> None:
        check_name(name)
        if importlib.util.find_spec("tensorflow_serving") is None:
            raise ModelError(f"{path}: a serving repository needs {PACKAGE}: pip install '.[serving]'")
        self.path, self.name = Path(path), name
        self._labels = VersionLabels(self.path / "models.config", name)

    def add(self, saved_model: Path, info: ModelInfo, measured: Sequence[Throughput], manifest: Manifest) -> Path:
        """Add a version: the model, its warm-up requests, and the server's files.

        A running server looks at these folders all the time: a version appears whole, under a number that was
        never used, and `models.config`, which makes the server load it, is written last.

        Args:
            saved_model: folder with the signatures of the contract.
            info: of the model.
            measured: its throughput, see `toolkit.export.throughput`.
            manifest: of the command, for `batching_measured.json`.

        Returns:
            Folder of the version.

        Raises:
            ModelError: `models.config` can't be read.
            OutputError: the repository can't be written.
        """
        number = self._next_number()
        version = self.path / self.name / str(number)
        with atomic_path(version) as partial:
            shutil.copytree(saved_model, partial)
            write_warmup(partial, info, self.name)
        self._write_batching(number, info, measured, manifest)
        for file in OPERATORS:
            if not (self.path / file).exists():
                self._write(file, service=_service(self.name), serving_version=metadata.version(PACKAGE))
        self._labels.add(number)
        return version

    def _next_number(self) -> int:
        folder = self.path / self.name
        taken = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
        return max(taken, default=0) + 1

    def _write_batching(self, number: int, info: ModelInfo, measured: Sequence[Throughput], manifest: Manifest) -> None:
        derived = batching.batching_for(measured)
        content = manifest.content(
            note=MEASURED_WHERE,
            model=self.name,
            model_version=number,
            slices_height_width_modalities=case_shape(info),
            measured=[asdict(one) for one in measured],
            derived=asdict(derived),
        )
        write_json(self.path / "batching_measured.json", content)
        self._write(
            "batching.config",
            version=number,
            batching=derived,
            good_enough=batching.GOOD_ENOUGH,
            wait=batching.WAIT,
            threads=batching.THREADS,
            queue_seconds=batching.QUEUE_SECONDS,
        )

    def _write(self, file: str, **context: object) -> None:
        with atomic_path(self.path / file) as partial:
            partial.write_text(render(f"{file}.j2", name=self.name, **context), encoding="utf-8")


def _service(name: str) -> str:
    """The name as Kubernetes allows it: a label of DNS, with room for what is appended."""
    return "bts-" + re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
