"""Folders at the top of a checkout that are installed inside the package: recipes and models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def shipped_folder(name: Literal["configs", "saved_models"]) -> Path:
    """The folder inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name
