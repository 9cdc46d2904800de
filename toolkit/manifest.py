"""The manifest every command leaves beside its results: how they came to be."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit import __version__

PACKAGES = ("keras", "tensorflow", "numpy", "scipy", "opencv-python-headless", "h5py", "nibabel")


class Manifest:
    """Started with a command, asked for its content when the command is done.

    Args:
        seed: of the run, or None where nothing is random.

    Example:
        manifest = Manifest(seed=1)
        ...
        write_json(out / "manifest.json", manifest.content(inputs={"store": store_checksums}))
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed, self._start = seed, time.time()

    def content(self, **more: Any) -> dict[str, Any]:
        """Command, versions, seed, machine, start and seconds so far, and what the caller adds."""
        return {
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "version": __version__,
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "seed": self.seed,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._start)),
            "seconds": round(time.time() - self._start, 1),
            **more,
        }


def file_checksums(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file by its path."""
    checksums = {}
    for file in files:
        with file.open("rb") as stream:
            checksums[str(file)] = hashlib.file_digest(stream, "sha256").hexdigest()
    return checksums


@cache  # asked for at the start and at the end of a command
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
