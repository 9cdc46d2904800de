"""The same recipe on TensorFlow and on JAX: the ground that training on many machines stands on."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from toolkit.config import load_recipe
from toolkit.inference.predictor import Predictor
from toolkit.training.trainer import train
from toolkit.workflows.prepare import prepare
from toolkit.workflows.sources import SourceOptions

pytestmark = pytest.mark.end_to_end
REPOSITORY = Path(__file__).parents[2]

TRAIN_AND_PREDICT = """
import sys
import numpy as np
from pathlib import Path
from toolkit.config import load_recipe
from toolkit.inference.predictor import Predictor
from toolkit.training.trainer import train
store, images, run, other = map(Path, sys.argv[1:])
train(load_recipe("tiny", ["training.epochs=1"]), store, run)
for trained in (run, other):
    np.save(trained / "jax.npy", Predictor(trained).predict(np.load(images)))
"""
# What is compiled runs for a second: to make it fast would take XLA a minute.
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def on_jax(script: str, *arguments: Path) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": QUICKLY_COMPILED}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(run: Path) -> np.ndarray:
    (row,) = csv.DictReader((run / "history.csv").read_text().splitlines())
    return np.array([float(row["loss"]), float(row["val_loss"])])


def test_tiny_recipe_trains_alike_and_models_cross_over(tmp_path):
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install '.[jax]'")
    assert keras.backend.backend() == "tensorflow"
    store, images = tmp_path / "store", tmp_path / "images.npy"
    prepare("phantom", None, store, options=SourceOptions(n_patients=6, size=32))
    np.save(images, np.random.default_rng(0).integers(0, 900, (5, 40, 40, 1)).astype(np.int16))
    here, on_the_other = tmp_path / "tensorflow", tmp_path / "jax"
    keras.utils.clear_session()
    train(load_recipe("tiny", ["training.epochs=1"]), store, here)
    on_jax(TRAIN_AND_PREDICT, store, images, on_the_other, here)
    np.testing.assert_allclose(losses(here), losses(on_the_other), atol=1e-3)
    for run in (here, on_the_other):
        prediction = Predictor(run).predict(np.load(images))
        assert prediction.std() > 0
        np.testing.assert_allclose(np.load(run / "jax.npy"), prediction, atol=1e-4)
