"""A real volume of four modalities, through `bts-predict` with an untrained network: within its means, in its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from memory import mark_some

from toolkit.config import load_recipe
from toolkit.data.sources.brats import LABELS, MODALITIES
from toolkit.models.model_file import ModelInfo, save_model
from toolkit.models.segmenter import build_segmenter

REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "../shared/data/brats_samples/BraTS-GLI-00001-000"
GIGABYTE, SECONDS = 1.5, 60.0
PREDICT = """
import json, sys, time
from pathlib import Path
sys.modules["jax"] = None  # An extra, which Keras loads where it is: a tenth of a gigabyte that has no part in this.
import toolkit.workflows.predict as workflow
from toolkit.cores import usable_cores
loaded = []
class Timed(workflow.Predictor):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        loaded.append(time.process_time())
workflow.Predictor = Timed
scan, model, out = map(Path, sys.argv[1:])
workflow.predict([scan], model, out)
# Not on the wall's clock, of which others on the machine take some.
seconds = (time.process_time() - loaded[0]) / min(2, usable_cores())
# Not ru_maxrss, which a child may inherit.
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e9
print(json.dumps({"gigabytes": peak, "seconds": seconds}))
"""


@pytest.fixture
def untrained(tmp_path) -> Path:
    """Of a head it marks specks, a hundredth of it in each region, as the benchmark of memory does."""
    recipe = load_recipe("brats", ["model.encoder_weights=none"])
    info = ModelInfo(
        recipe=recipe,
        modalities=MODALITIES,
        label_map=LABELS,
        data_kind="nifti",
        data_checksums_sha256={},
        synthetic_data=False,
    )
    network = build_segmenter(recipe, len(MODALITIES))
    mark_some(network, recipe.data.image_size)
    save_model(network, tmp_path / "model.keras", info)
    return tmp_path / "model.keras"


@pytest.mark.real_scans
@pytest.mark.end_to_end
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no real scans in ../shared/data")
def test_a_case_of_brats_is_predicted_in_a_minute_and_little_memory(tmp_path, untrained):
    """A minute of two cores."""
    command = [sys.executable, "-c", PREDICT, str(SAMPLE), str(untrained), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["gigabytes"] < GIGABYTE, measured
    assert measured["seconds"] < SECONDS, measured
    mask = sitk.ReadImage(str(tmp_path / f"out/{SAMPLE.name}_mask.nii.gz"))
    scan = sitk.ReadImage(str(SAMPLE / f"{SAMPLE.name}-t1c.nii.gz"))
    for place in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, place)(), getattr(scan, place)(), atol=1e-6)
    counts = np.bincount(sitk.GetArrayFromImage(mask).ravel(), minlength=4)
    (case,) = json.loads((tmp_path / "out/summary.json").read_text())["cases"].values()
    assert len(counts) == 4
    assert counts[1:].sum() == case["total_pixels"] > 0
    # Voxels of 1 mm3: a thousand are a millilitre.
    assert case["volume_ml"] == pytest.approx(case["total_pixels"] / 1000, rel=1e-5)
    assert case["regions"]["enhancing_tumour"]["total_pixels"] == counts[3]
