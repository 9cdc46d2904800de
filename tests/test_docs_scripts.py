"""The scripts that the docs show mark what bts-predict marks, where nothing but what they name is installed."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.small_models import scan
from toolkit.workflows.predict import predict

SCRIPTS = Path(__file__).parents[1] / "docs/scripts"
PAGE = Path(__file__).parents[1] / "docs/how-to/export.md"
# Runs a script as if these packages were not there.
WITHOUT = (
    "import runpy, sys; absent, *sys.argv = sys.argv[1:]; sys.modules.update(dict.fromkeys(absent.split(',')));"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(script, absent, *arguments):
    command = [sys.executable, "-c", WITHOUT, absent, SCRIPTS / script, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_tensorflow_script_writes_the_mask_of_bts_predict(small_exports, tmp_path, depth):
    picture = tmp_path / "slice.png"
    cv2.imwrite(str(picture), scan(1, 48, 37)[0, ..., 0].astype(depth) * (1 if depth is np.uint8 else 150))
    predict([picture], small_exports.keras_file, tmp_path / "out")
    said = run("savedmodel_mask.py", "toolkit,keras,cv2", small_exports.saved_model, tmp_path / "mask.png", picture)
    ours, theirs = (
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "mask.png", tmp_path / "out/slice_mask.png")
    )
    assert 0.1 < (theirs > 0).mean() < 0.9
    np.testing.assert_array_equal(ours, theirs)
    assert f"{(theirs > 0).sum()} of {theirs.size} pixels" in said


@pytest.mark.parametrize("n_slices", [1, 3, 4, 11])
def test_the_litert_script_writes_the_mask_of_bts_predict(small_exports, tmp_path, n_slices):
    images = scan(n_slices)[..., 0].astype(np.uint16)
    cv2.imwritemulti(str(tmp_path / "slices.tif"), list(images))
    np.save(tmp_path / "slices.npy", images)
    predict([tmp_path / "slices.tif"], small_exports.keras_file, tmp_path / "out")
    model = small_exports.tflite("float32", (40, 28))
    run("tflite_mask.py", "toolkit,keras,tensorflow,cv2", model, tmp_path / "slices.npy", tmp_path / "mask.npy")
    (written,) = (tmp_path / "out").glob("*_mask.*")
    _, pages = cv2.imreadmulti(str(written), flags=cv2.IMREAD_UNCHANGED)
    assert 0.1 < (np.array(pages) > 0).mean() < 0.9
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), pages)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda script: script.name)
def test_the_page_shows_the_script_that_was_tested(script):
    text = script.read_text(encoding="utf-8")
    assert text in PAGE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
