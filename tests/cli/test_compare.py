"""A comparison as a user runs it: stopped twice in the middle, gone on with, and read."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import cv2
import pytest
import yaml

from toolkit.workflows import compare as workflow

pytestmark = pytest.mark.end_to_end
RUNS = ("proposed-seed1", "gated-seed1", "proposed-seed2", "gated-seed2")


@pytest.fixture(scope="module")
def store(phantom_store) -> Path:
    return phantom_store


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, plainest_network) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "small.yaml"
    variants = {
        "proposed": {"label": "Proposed", "paper": "proposed"},
        "gated": {"label": "with gates", "set": {"model.network": "attention_unet"}},
    }
    values = {"name": "small", "base": "tiny", "set": plainest_network, "budget": {"epochs": 1}, "seeds": [1, 2]}
    values |= {"reference": "proposed", "variants": variants}
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def refused(run_here):
    """The one line a comparison ends with."""

    def run(*arguments: object) -> str:
        code, _, err = run_here("compare", *arguments)
        assert code in (1, 2)
        assert len(err.strip().splitlines()) == 1, err
        return err

    return run


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "table3.csv").read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, command, run_here, wait_for, store, recipe) -> Path:
    out = tmp_path_factory.mktemp("comparisons") / "small"
    arguments = ("compare", recipe, "--data", store, "--out", out)
    process = command(*arguments)
    wait_for(out / "runs" / RUNS[1] / "recipe.yaml", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert [row["model"] for row in rows(out)] == ["proposed", "proposed"]
    assert "Unfinished: gated, seed 1; proposed, seed 2; gated, seed 2." in (out / "table3.md").read_text()
    first = (out / "runs" / RUNS[0] / "best.keras").stat().st_mtime_ns

    process = command(*arguments)
    wait_for(out / "runs" / RUNS[2] / "recipe.yaml", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 1
    assert len(err.strip().splitlines()) == 1

    code, text, err = run_here(*arguments)
    assert code == 0, err
    assert "not finished" not in text
    assert (out / "runs" / RUNS[0] / "best.keras").stat().st_mtime_ns == first, "a finished run is not touched"
    return out


def test_the_tables_hold_every_model_and_seed_and_the_mean_over_seeds(finished):
    table = rows(finished)
    assert [(row["model"], row["seed"]) for row in table] == [
        (model, seed) for model in ("proposed", "gated") for seed in ("1", "2", "all")
    ]
    for row in table:
        if row["seed"] != "all":
            metrics = json.loads((finished / "runs" / f"{row['model']}-seed{row['seed']}" / "metrics.json").read_text())
            assert float(row["dsc"]) == pytest.approx(metrics["per_image_mean"]["dice"])
            assert [float(row[f"ji_{end}"]) for end in ("low", "high")] == pytest.approx(
                metrics["confidence_95"]["jaccard"]
            )
    assert [row["seed"] for row in table if row["p_holm"]] == ["all"]
    assert not list(finished.rglob(".partial-*"))


def test_what_is_made_up_says_so(finished):
    for name in ("table3.md", "table4.md"):
        assert "SYNTHETIC" in (finished / name).read_text()
    assert "Unfinished" not in (finished / "table3.md").read_text()


def test_pictures_show_three_slices_and_every_model(finished):
    table2, models = (cv2.imread(str(finished / name)) for name in ("table2.png", "models.png"))
    assert table2.shape == (3 * (256 + 26) + 2 * 4, 4 * 256 + 3 * 4, 3)
    assert models.shape == (3 * (256 + 26) + 2 * 4, 3 * 256 + 2 * 4, 3), "truth, proposed, gated"
    assert (finished / "figure6.png").stat().st_size > 0
    assert (finished / "curves.png").stat().st_size > 0
    with (finished / "curves.csv").open(encoding="utf-8", newline="") as file:
        assert sorted({f"{row['model']}-seed{row['seed']}" for row in csv.DictReader(file)}) == sorted(RUNS)


def test_how_it_came_to_be_stands_beside(finished, store):
    known = json.loads((finished / "comparison.json").read_text())
    assert known["changes_from_reference"]["gated"] == {"model.network": ["unet", "attention_unet"]}
    assert known["unfinished"] == []
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["seed"] == [1, 2]
    assert manifest["store"] == json.loads((store / "dataset.json").read_text())["checksums_sha256"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "set.loss.focal=3"], "proposed-seed1: was made by another recipe (loss.focal: 1.0 then, 3.0 now)"),
        (["--only", "unet"], "--only unet: no such variant; choose of proposed, gated"),
        (["--set", "variants.new.set.model.start=runs/none"], "variant new: runs/none: no such model"),
    ],
)
def test_wrong_use_is_told_before_anything_is_trained(refused, store, recipe, finished, more, told):
    before = (finished / "table3.csv").read_bytes()
    assert told in refused(recipe, "--data", store, "--out", finished, *more)
    assert (finished / "table3.csv").read_bytes() == before


def test_weights_learned_from_the_judged_patients_are_no_start(tmp_path, refused, store, recipe, finished):
    start = finished / "runs" / RUNS[0]
    more = ("--set", "set.data.split=folds", "--set", f"set.model.start={start}")
    line = refused(recipe, "--data", store, "--out", tmp_path / "out", *more)
    assert "has learned from patient group" in line
    assert not (tmp_path / "out").exists()


def test_after_a_lost_ctrl_c_no_other_model_is_begun(tmp_path, monkeypatch, lose_ctrl_c, refused, store, recipe):
    trained = []
    monkeypatch.setattr("toolkit.training.trainer.train", lambda recipe, store, run, resume: trained.append(run.name))
    monkeypatch.setattr("toolkit.inference.predictor.Predictor", lambda run: None)
    monkeypatch.setattr("toolkit.workflows.evaluate.judge", lambda *_: lose_ctrl_c())
    monkeypatch.setattr(workflow, "_check_models", lambda pending, store: None)
    assert "stopped" in refused(recipe, "--data", store, "--out", tmp_path / "out")
    assert trained == [RUNS[0]]
