"""The enhancer's way, as a user goes it: pre-train, join to a segmenter, enhance a scan."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from toolkit.workflows.phantom_scan import write_phantom_scan

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_here) -> Path:
    out = tmp_path_factory.mktemp("stores") / "phantom"
    code, _, err = run_here("prepare", "phantom", "--out", out, "--patients", 6, "--size", 32)
    assert code == 0, err
    return out


def pretraining(store, epochs):
    settings = (
        "task=enhance",
        f"training.epochs={epochs}",
        "training.optimizer=rmsprop",
        "training.learning_rate=5e-3",
    )
    return ("tiny", "--data", store, *(word for setting in settings for word in ("--set", setting)))


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory, run_here, store) -> Path:
    run = tmp_path_factory.mktemp("runs") / "enhancer"
    code, out, err = run_here("train", *pretraining(store, 2), "--out", run)
    assert code == 0, err
    assert "validation, noise 0.10: PSNR" in out
    assert "of the drift removed" in out
    assert "restoration.png" in out
    return run


def test_a_run_tells_what_is_left_of_each_kind_of_damage(enhancer):
    metrics = json.loads((enhancer / "metrics.json").read_text())
    damages = metrics["inside_the_head"]
    assert {"noise 0.10", "drift 0.2", "half resolution", "every third slice missing"} <= set(damages)
    rows = list(csv.DictReader((enhancer / "restoration.csv").open(newline="")))
    before = [float(r["psnr"]) for r in rows if (r["damage"], r["method"]) == ("noise 0.10", "damaged")]
    assert np.mean(before) == pytest.approx(damages["noise 0.10"]["damaged"]["psnr"]["mean"])
    # White noise of a tenth of the range, but for what Rice's distribution does near zero.
    assert np.mean(before) == pytest.approx(20, abs=1)
    assert (enhancer / "restoration.png").exists()
    assert "val_psnr" in (enhancer / "history.csv").read_text().splitlines()[0]


def test_it_marks_no_tumours(enhancer, store, tmp_path, run_here):
    code, _, err = run_here("evaluate", enhancer, "--data", store, "--out", tmp_path / "judged")
    assert code == 1
    assert "is an enhancer and marks no tumours; use bts-enhance" in err
    assert not (tmp_path / "judged").exists()


def test_a_segmenter_starts_from_it_with_rates_of_its_own(enhancer, store, tmp_path, run_here):
    run = tmp_path / "joined"
    settings = (
        "training.epochs=1",
        f"model.enhancer.weights={enhancer}",
        "training.rates.enhancer=0",
        "training.freezing.encoder_epochs=1",
        "loss.correction=0.1",
    )
    words = [word for setting in settings for word in ("--set", setting)]
    code, out, err = run_here("train", "tiny", "--data", store, *words, "--out", run)
    assert code == 0, err
    assert f"{enhancer / 'best.keras'}: " in out
    assert "weights taken over" in out

    from toolkit.models.model_file import load_model

    pretrained, joined = (load_model(r / "best.keras")[0] for r in (enhancer, run))
    layers = [layer.name for layer in pretrained.layers if layer.name.startswith("enhancer") and layer.weights]
    assert len(layers) >= 5
    for name in layers:
        # At a rate of 0 they are still what they were.
        for one, other in zip(pretrained.get_layer(name).weights, joined.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=name)


def test_it_enhances_a_scan_in_its_own_geometry(enhancer, tmp_path, run_command):
    scan = tmp_path / "phantom.nii.gz"
    write_phantom_scan(scan)
    code, out, err = run_command("enhance", scan, "--model", enhancer, "--out", tmp_path / "out")
    assert code == 0, err
    assert "phantom_enhanced.nii.gz" in out
    before, after = nib.load(scan), nib.load(tmp_path / "out/phantom_enhanced.nii.gz")
    assert before.shape == after.shape
    np.testing.assert_array_equal(before.affine, after.affine)
    assert not np.array_equal(before.get_fdata(), after.get_fdata())


def test_training_by_the_clock_stops_in_time_and_does_not_go_on(store, tmp_path, run_here):
    run = tmp_path / "timed"
    plain = ("model.network=unet", "model.filters=2", "model.enhancer.kind=none", "training.minutes=0.1")
    words = ("tiny", "--data", store, *(word for setting in plain for word in ("--set", setting)), "--out", run)
    code, _, err = run_here("train", *words)
    assert code == 0, err
    assert json.loads((run / "manifest.json").read_text())["seconds_training"] >= 6
    history = (run / "history.csv").read_bytes()
    code, _, err = run_here("train", *words, "--resume")
    assert code == 0, err
    assert (run / "history.csv").read_bytes() == history
