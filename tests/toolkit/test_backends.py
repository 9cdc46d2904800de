"""The same recipe on TensorFlow and on JAX: the ground that training on many machines stands on."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toolkit.workflows.prepare import prepare
from toolkit.workflows.sources import SourceOptions

pytestmark = pytest.mark.end_to_end
REPOSITORY = Path(__file__).parents[2]

TRAIN = """
import sys
from pathlib import Path
from toolkit.config import load_recipe
from toolkit.training.trainer import train
store, run = map(Path, sys.argv[1:])
train(load_recipe("tiny", ["training.epochs=1"]), store, run)
"""
PREDICT = """
import sys
import keras
import numpy as np
from pathlib import Path
from toolkit.inference.predictor import Predictor
images = np.load(sys.argv[1])
for run in sys.argv[2:]:
    np.save(Path(run) / f"{keras.backend.backend()}.npy", Predictor(Path(run)).predict(images))
"""


def on_backend(backend: str, script: str, *arguments: Path) -> None:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(run: Path) -> np.ndarray:
    (row,) = csv.DictReader((run / "history.csv").read_text().splitlines())
    return np.array([float(row["loss"]), float(row["val_loss"])])


def test_tiny_recipe_trains_alike_and_models_cross_over(tmp_path):
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install '.[jax]'")
    store, images = tmp_path / "store", tmp_path / "images.npy"
    prepare("phantom", None, store, options=SourceOptions(n_patients=6, size=32))
    np.save(images, np.random.default_rng(0).integers(0, 900, (5, 40, 40, 1)).astype(np.int16))
    runs = {backend: tmp_path / backend for backend in ("tensorflow", "jax")}
    for backend, run in runs.items():
        on_backend(backend, TRAIN, store, run)
    for backend in runs:
        on_backend(backend, PREDICT, images, *runs.values())
    np.testing.assert_allclose(losses(runs["tensorflow"]), losses(runs["jax"]), atol=1e-3)
    for run in runs.values():
        predictions = [np.load(run / f"{backend}.npy") for backend in runs]
        assert predictions[0].std() > 0
        np.testing.assert_allclose(*predictions, atol=1e-4)
