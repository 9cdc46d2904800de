"""One picture and a `.tflite` model: what such a prediction loads, and what it does without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.small_models import scan

REPOSITORY = Path(__file__).parents[2]
BACKENDS = {"tensorflow", "keras", "torch", "jax"}
# Each takes longer to load than the picture to be predicted; a prediction of other scans may need it.
HEAVY = {"matplotlib", "scipy", "nibabel", "pydicom", "highdicom", "h5py", "rich", "requests", "pandas"}
PREDICT = """
import sys
from cli.predict import main
main(sys.argv[1:], standalone_mode=False)
import json
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
FORBID = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorflow", "keras"}:
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Forbidden())
"""


@pytest.fixture
def predict(tmp_path, small_exports):
    cv2.imwrite(str(tmp_path / "one.png"), scan(1, 64, 64)[0, ..., 0].astype(np.uint8))

    def run(code, model=None):
        model = model or small_exports.tflite()
        arguments = [tmp_path / "one.png", "--model", model, "--out", tmp_path / "out"]
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True
        )

    return run


def test_a_picture_loads_no_backend_and_nothing_that_takes_long(predict):
    done = predict(PREDICT)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & (BACKENDS | HEAVY) == set()
    assert {"numpy", "cv2", "ai_edge_litert"} <= loaded


def test_where_tensorflow_and_keras_can_not_be_imported_it_works_all_the_same(predict, tmp_path, small_exports):
    done = predict(FORBID + PREDICT)
    assert done.returncode == 0, done.stderr
    assert "report:" in done.stdout
    assert (tmp_path / "out/report.html").is_file()
    assert cv2.imread(str(tmp_path / "out/one_mask.png"), cv2.IMREAD_GRAYSCALE).any()
    assert "keras is not installed" in predict(FORBID + PREDICT, small_exports.keras_file).stderr, "forbids nothing"
