"""Four modalities, three labels, one patient without T2: prepared, trained, judged and predicted as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

pytestmark = pytest.mark.end_to_end
SHAPE = (40, 32, 12)
AFFINE = np.array([[-1.0, 0, 0, 20], [0, -1.2, 0, 10], [0, 0, 3.0, -5], [0, 0, 0, 1]])
RECIPE = """
name: brats-tiny
data: {image_size: 32, window: {slices: 4, halo: 1}, batch_windows: 2, allow_missing: true, spacing_mm: [3.0, 1.5, 1.5]}
augmentation: {modality_dropout: 0.25}
model:
  network: unet
  filters: 2
  enhancer: {filters: 2}
  regions: {whole_tumour: [1, 2, 3], tumour_core: [1, 3], enhancing_tumour: [3]}
training: {epochs: 1}
"""


def write_patient(folder: Path, number: int, leave_out: tuple[str, ...] = ()) -> Path:
    """A head with a tumour of three shells, in the naming of 2023."""
    rng = np.random.default_rng(number)
    x, y, z = np.indices(SHAPE)
    head = (((x - 20) / 17) ** 2 + ((y - 16) / 14) ** 2 < 1) * 400
    radius = np.sqrt((x - 13 - number % 5) ** 2 + (y - 16) ** 2 + (2 * (z - 6)) ** 2)
    labels = np.select([radius < 2, radius < 4, radius < 6], [1, 3, 2], 0).astype(np.uint8)
    case = folder / f"BraTS-GLI-{number:05d}-000"
    case.mkdir(parents=True)
    for bright, end in ((1, "t1n"), (3, "t1c"), (2, "t2w"), (2, "t2f")):
        if end not in leave_out:
            image = head + 500 * (labels == bright) + rng.integers(0, 40, SHAPE)
            nib.save(nib.Nifti1Image(image.astype(np.int16), AFFINE), case / f"{case.name}-{end}.nii.gz")
    nib.save(nib.Nifti1Image(labels, AFFINE), case / f"{case.name}-seg.nii.gz")
    return case


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("brats")
    for number in range(8):
        write_patient(folder, number, leave_out=("t2w",) if number == 3 else ())
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder, run_here) -> Path:
    work = tmp_path_factory.mktemp("work")
    (work / "recipe.yaml").write_text(RECIPE)
    code, out, err = run_here("prepare", "nifti", folder, "--out", work / "store", "--allow-missing")
    assert code == 0, err
    assert "modalities: t1n, t1c, t2w, t2f" in out
    code, out, err = run_here("train", work / "recipe.yaml", "--data", work / "store", "--out", work / "run")
    assert code == 0, err
    return work / "run"


def test_a_missing_modality_stops_prepare_unless_it_is_allowed(tmp_path, folder, run_here):
    code, _, err = run_here("prepare", "nifti", folder, "--out", tmp_path / "store")
    assert code == 1
    assert "BraTS-GLI-00003-000" in err
    assert "t2w" in err
    assert "--allow-missing" in err
    assert not list(tmp_path.iterdir())


def test_every_region_is_judged(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["per_label"]) == {"whole_tumour", "tumour_core", "enhancing_tumour"}
    assert metrics["distance_unit"] == "mm"


def test_a_case_folder_is_predicted_in_its_own_geometry(tmp_path, run, run_here):
    whole, partial = write_patient(tmp_path / "in", 20), write_patient(tmp_path / "in", 21, leave_out=("t1n", "t2w"))
    code, _, err = run_here("predict", tmp_path / "in", "--model", run, "--out", tmp_path / "out")
    assert code == 0, err
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    cases = summary["cases"]
    assert set(cases) == {whole.name, partial.name}
    assert cases[whole.name]["missing_modalities"] == []
    assert cases[partial.name]["missing_modalities"] == ["t1n", "t2w"]
    assert "without t1n, t2w" in err
    assert set(cases[whole.name]["regions"]) == {"whole_tumour", "tumour_core", "enhancing_tumour"}
    assert cases[whole.name]["labels"] == {"oedema": 2, "necrotic_core": 1, "enhancing_tumour": 3}
    mask = sitk.ReadImage(str(tmp_path / f"out/{whole.name}_mask.nii.gz"))
    scan = sitk.ReadImage(str(whole / f"{whole.name}-t1c.nii.gz"))
    for place in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, place)(), getattr(scan, place)(), atol=1e-6)
    assert set(np.unique(sitk.GetArrayFromImage(mask))) <= {0, 1, 2, 3}
