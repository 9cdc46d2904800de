"""`models.config`: which versions a server loads, and which of them clients get by `stable` and `canary`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ModelError
from toolkit.export.rendering import render
from toolkit.files import atomic_path

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

STABLE, CANARY = "stable", "canary"
# The repository inside the container.
ROOT = "/models"


class VersionLabels:
    """The versions of one model in a `models.config`; other models in it stay as they are.

    The first version is `stable`; a later one comes beside it as `canary`, and whoever runs the server
    promotes it. A running server moves a label that is in use only to a version it has loaded already, and takes
    up nothing of a file that asks for more: so there is one version on trial at a time.

    Args:
        path: of `models.config`; need not exist yet.
        name: of the model.

    Raises:
        ModelError: the file can't be read, or a version is still on trial.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        if CANARY in self._entry(self._read()).version_labels:
            raise ModelError(
                f"{path}: a version of {name} is still on trial as canary; promote it or drop it, that is take the "
                "label canary out, give the server 10 s to read that, and export again"
            )

    def add(self, version: int) -> None:
        """Have a version loaded and labelled.

        Raises:
            ModelError: the file can't be read.
            OutputError: it can't be written.
        """
        from google.protobuf import text_format

        config = self._read()
        entry = self._entry(config)
        entry.base_path, entry.model_platform = f"{ROOT}/{self.name}", "tensorflow"
        entry.version_labels[CANARY if STABLE in entry.version_labels else STABLE] = version
        entry.model_version_policy.specific.versions[:] = sorted(set(entry.version_labels.values()))
        with atomic_path(self.path) as partial:
            text = render("models.config.j2", config=text_format.MessageToString(config).rstrip())
            partial.write_text(text, encoding="utf-8")

    def _read(self) -> ModelServerConfig:
        from google.protobuf import text_format
        from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

        if not self.path.exists():
            return ModelServerConfig()
        try:
            return text_format.Parse(self.path.read_text(encoding="utf-8"), ModelServerConfig())
        except (OSError, ValueError, text_format.ParseError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{self.path}: can't be read ({reason}); mend it, or name another folder") from error

    def _entry(self, config: ModelServerConfig) -> ModelConfig:
        """The model's part of the file, added where there is none."""
        models = config.model_config_list.config
        return next((model for model in models if model.name == self.name), None) or models.add(name=self.name)
