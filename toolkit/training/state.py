"""The state from which a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolkit.errors import ModelError
from toolkit.files import atomic_path

FILE = "state.npz"


def save_state(folder: Path, model: keras.Model, history: list[dict[str, Any]], seconds: float) -> None:
    """Write weights, optimiser, dropout seeds and history as one file, atomically.

    One file, so that a kill at any moment leaves the state of one epoch, never a mixture.

    Args:
        folder: `last/` of a run.
        model: compiled and trained.
        history: rows of the finished epochs.
        seconds: trained so far, over all resumes.

    Raises:
        OutputError: the file can't be written.
    """
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(model)}
    arrays["progress"] = np.array(json.dumps({"history": history, "seconds": seconds}))
    with atomic_path(folder / FILE) as partial:
        np.savez(partial, allow_pickle=False, **arrays)


def load_state(folder: Path, model: keras.Model) -> tuple[list[dict[str, Any]], float]:
    """Set a built and compiled model to a saved state.

    Returns:
        History rows of the finished epochs, and seconds trained.

    Raises:
        ModelError: damaged, or of another model.
    """
    file = folder / FILE
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for name, variable in _variables(model):
                variable.assign(arrays[name])
            progress = json.loads(str(arrays["progress"]))
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{file}: can't be resumed from ({' '.join(str(error).split())}); start again with another --out"
        ) from error
    return progress["history"], float(progress["seconds"])


def _variables(model: keras.Model) -> list[tuple[str, Any]]:
    """All variables, dropout's seeds included, numbered: names repeat, the order does not change."""
    model.optimizer.build(model.trainable_variables)
    named = [("model", variable) for variable in model.variables]
    named += [("optimizer", variable) for variable in model.optimizer.variables]
    return [(f"{kind}_{number:04d}", variable) for number, (kind, variable) in enumerate(named)]
