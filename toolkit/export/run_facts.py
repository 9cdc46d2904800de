"""What lies beside a model in the folder of its run: how it was trained, and how it was judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError


@dataclass(frozen=True)
class RunFacts:
    """Facts about a model; None where they are not known.

    Args:
        metrics: content of the run's metrics.json.
        manifest: content of its manifest.json.
    """

    metrics: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] | None = None


def read_run_facts(model: Path) -> RunFacts:
    """The facts about a model file.

    Args:
        model: `.keras` file. Only beside the best.keras of a run is it sure whose files these are.

    Raises:
        ModelError: one of the files can't be read.
    """
    if model.name != "best.keras" or not (model.parent / "recipe.yaml").is_file():
        return RunFacts()
    return RunFacts(_read(model.parent / "metrics.json"), _read(model.parent / "manifest.json"))


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: can't be read ({reason}); make it again, or move it") from error
    return content
