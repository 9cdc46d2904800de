"""The main job, as a user does it: prepare, train, get killed, resume, evaluate, predict."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK
import yaml

from toolkit.models.model_file import read_info
from toolkit.workflows.phantom_scan import write_phantom_scan

pytestmark = pytest.mark.end_to_end
EPOCHS = 6  # of a second each but for the first, so that a kill falls between them also on a busy machine


def rows(run: Path) -> list[list[str]]:
    return list(csv.reader((run / "history.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_here) -> Path:
    out = tmp_path_factory.mktemp("stores") / "phantom"
    code, _, err = run_here("prepare", "phantom", "--out", out, "--patients", 6, "--size", 32)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def arguments(store) -> tuple[object, ...]:
    # Dropout on: its random state must survive the kill, too. A network whose graph is quickly made: each run makes it.
    settings = (f"training.epochs={EPOCHS}", "model.dropout=0.1", "model.network=unet", "model.filters=2")
    return ("tiny", "--data", store, *(word for setting in settings for word in ("--set", setting)))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, run_command, arguments) -> Path:
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    code, out, err = run_command("train", *arguments, "--out", run)
    assert code == 0, err
    assert "validation: mean Dice" in out
    return run


def test_a_run_leaves_what_the_design_names(unbroken):
    names = ("recipe.yaml", "best.keras", "last", "history.csv", "tensorboard", "metrics.json", "manifest.json")
    for name in (*names, "report.html", "examples.png", "curve.png"):
        assert (unbroken / name).exists(), name
    assert yaml.safe_load((unbroken / "recipe.yaml").read_text())["training"]["epochs"] == EPOCHS
    assert [row[0] for row in rows(unbroken)[1:]] == [str(epoch + 1) for epoch in range(EPOCHS)]
    manifest = json.loads((unbroken / "manifest.json").read_text())
    assert manifest["seed"] == 1
    assert manifest["packages"]["keras"]
    assert json.loads((unbroken / "metrics.json").read_text())["synthetic"] is True
    assert read_info(unbroken / "best.keras").familiarity is not None
    assert not list(unbroken.rglob(".partial-*"))


def test_tensorboard_has_curves_and_pictures(unbroken):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(unbroken / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    assert {"loss", "dice", "val_loss", "val_dice", "learning_rate", "validation"} <= set(tags)
    assert len(events.Tensors("validation")) == EPOCHS


def test_killed_in_the_middle_of_an_epoch_then_resumed(tmp_path, command, run_command, arguments, unbroken):
    run = tmp_path / "killed"
    process = command("train", *arguments, "--out", run)
    deadline = time.monotonic() + 300
    while not (run / "last" / "state.npz").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = rows(run)
    assert 1 < len(finished) < EPOCHS + 1, "the kill came too late to break the run"
    assert finished == rows(unbroken)[: len(finished)]

    # What a kill in the middle of a write leaves behind is cleared away.
    (run / "last" / ".partial-0123456789ab.npz").write_bytes(b"half")
    code, _, err = run_command("train", *arguments, "--out", run, "--resume")
    assert code == 0, err
    assert rows(run)[: len(finished)] == finished
    assert read_info(run / "best.keras") == read_info(unbroken / "best.keras")
    assert not list(run.rglob(".partial-*"))
    resumed, whole = (np.array(rows(path)[1:], float) for path in (run, unbroken))
    assert resumed.shape == whole.shape
    np.testing.assert_allclose(resumed, whole, atol=1e-3)


def test_a_run_is_not_overwritten_nor_resumed_by_another_recipe(run_here, arguments, unbroken):
    code, _, err = run_here("train", *arguments, "--out", unbroken)
    assert code == 2
    assert "--resume" in err
    code, _, err = run_here("train", *arguments, "--out", unbroken, "--resume", "--set", "seed=2")
    assert code == 2
    assert "seed: 1 then, 2 now" in err
    assert len(err.strip().splitlines()) == 1


def test_a_run_is_not_resumed_with_other_patients(tmp_path, run_here, store, arguments, unbroken):
    other = tmp_path / "other"
    assert run_here("prepare", "phantom", "--out", other, "--patients", 6, "--size", 32, "--seed", 7)[0] == 0
    replaced = [other if argument == store else argument for argument in arguments]
    code, _, err = run_here("train", *replaced, "--out", unbroken, "--resume")
    assert code == 2
    assert "another store" in err


def test_evaluate_on_patients_never_seen(tmp_path, run_here, store, unbroken):
    out = tmp_path / "evaluation"
    code, text, err = run_here("evaluate", unbroken, "--data", store, "--split", "test", "--out", out)
    assert code == 0, err
    metrics = json.loads((out / "metrics.json").read_text())
    index = json.loads((store / "dataset.json").read_text())
    assert metrics["n_patients"] == len(index["splits"]["by_patient"]["test"])
    assert metrics["n_images"] == 8 * 3 * metrics["n_patients"]
    assert metrics["foreground_only"] is True
    per_image = list(csv.DictReader((out / "per_image.csv").read_text().splitlines()))
    assert np.isclose(np.mean([float(row["dice"]) for row in per_image]), metrics["per_image_mean"]["dice"])
    assert {row["patient"] for row in per_image} == set(index["splits"]["by_patient"]["test"])
    for name in ("per_patient.csv", "per_lesion.csv", "report.html", "examples.png", "manifest.json"):
        assert (out / name).stat().st_size > 0
    assert "synthetic" in (out / "report.html").read_text().lower()
    assert "report.html" in text


def test_predict_marks_a_volume_and_a_picture_in_their_own_geometry(tmp_path, run_here, unbroken):
    scan, picture, broken = tmp_path / "scan.nii.gz", tmp_path / "slice.png", tmp_path / "broken.nii"
    write_phantom_scan(scan, size=48, slices=5)
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (50, 40), np.uint8))
    broken.write_bytes(b"no scan")
    out = tmp_path / "out"
    code, text, err = run_here("predict", scan, picture, broken, "--model", unbroken, "--out", out)
    assert code == 1, "a broken scan among others is told by the exit code"
    assert str(broken) in err
    assert "synthetic phantoms" in err
    before, after = (SimpleITK.ReadImage(str(path)) for path in (scan, out / "scan_mask.nii.gz"))
    assert after.GetSize() == before.GetSize()
    np.testing.assert_allclose(after.GetDirection(), before.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(after.GetOrigin(), before.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(after.GetSpacing(), before.GetSpacing(), atol=1e-5)
    assert cv2.imread(str(out / "slice_mask.png"), cv2.IMREAD_UNCHANGED).shape == (50, 40)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["cases"]["slice"]["area_mm2"] is None
    assert summary["cases"]["scan"]["volume_ml"] is not None
    assert list(summary["failed"]) == [str(broken)]
    for name in ("scan_overlay.png", "slice_overlay.png", "report.html", "manifest.json"):
        assert (out / name).stat().st_size > 0
    assert "scan:" in text


def test_predict_with_nothing_readable_writes_nothing(tmp_path, run_command, unbroken):
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no scan")
    code, _, err = run_command("predict", broken, "--model", unbroken, "--out", tmp_path / "out")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("report.html"))
