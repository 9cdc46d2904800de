"""What a broken-off prediction has found out, so that the same command goes on where it stopped."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toolkit.files import atomic_path
from toolkit.inference.answer import Answer
from toolkit.models.model_file import ModelInfo

FOLDER = ".unfinished"


class Unfinished:
    """Answers of a run, kept in its output folder until the run is through.

    An answer is given back only for the same files and the same model: its name there is a checksum of both.

    Args:
        out: output folder of the run.
        model: what it predicts with.
        settings: of the run, as far as they change an answer.
    """

    def __init__(self, out: Path, model: ModelInfo, settings: str) -> None:
        self._folder = out / FOLDER
        self._run = f"{model.model_dump_json()} {settings}"

    def find(self, checksums: Mapping[str, str]) -> Answer | None:
        """The answer for a case, if it was found before.

        Args:
            checksums: of its files, by path.
        """
        try:
            with np.load(self._file(checksums), allow_pickle=False) as kept:
                # A number comes back as an array of no axes.
                return Answer(**{name: kept[name] if kept[name].ndim else kept[name].item() for name in kept.files})
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):  # not there, or damaged
            return None

    def keep(self, checksums: Mapping[str, str], answer: Answer) -> None:
        """Write an answer down.

        Raises:
            OutputError: it can't be written.
        """
        there = {name: value for name, value in vars(answer).items() if value is not None}
        # As np.savez_compressed, whose thoroughness takes five times as long for hardly less.
        with (
            atomic_path(self._file(checksums)) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for name, value in there.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)

    def clear(self) -> None:
        """The run is through: nothing is left of it here."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, checksums: Mapping[str, str]) -> Path:
        known = f"{self._run} {sorted(checksums.items())}"
        return self._folder / f"{hashlib.sha256(known.encode(errors='surrogateescape')).hexdigest()}.npz"
