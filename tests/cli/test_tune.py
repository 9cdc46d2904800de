"""A search as a user runs it: killed in the middle of a trial, gone on with, and its recipe trained."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path

import cv2
import pytest
import yaml

from toolkit.training.state import FILE as STATE

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def store(phantom_store) -> Path:
    return phantom_store


@pytest.fixture(scope="module")
def search(tmp_path_factory, plainest_network) -> Path:
    space = {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "model.dropout": {"choices": [0, 0.5]}}
    values = {
        "name": "found",
        "base": "tiny",
        "set": plainest_network,
        "budget": {"epochs": 2},
        "trials": 3,
        "space": space,
    }
    file = tmp_path_factory.mktemp("searches") / "small.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def finished(tmp_path_factory, command, run_here, wait_for, store, search) -> tuple[Path, str, dict[str, int]]:
    """Folder of the search, what it printed at the end, and when each trial's recipe was written."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    arguments = ("tune", search, "--data", store, "--out", out)
    process = command(*arguments)
    wait_for(out / "trials/001/last" / STATE, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {file.parent.name: file.stat().st_mtime_ns for file in out.glob("trials/*/recipe.yaml")}
    code, printed, err = run_here(*arguments)
    assert code == 0, err
    return out, printed, before


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "trials.csv").read_text(encoding="utf-8").splitlines()))


def test_a_killed_search_goes_on_with_the_trial_it_was_in(finished):
    out, printed, before = finished
    assert [row["trial"] for row in rows(out)] == ["000", "001", "003"]  # 2 is how 1 was gone on with
    for name in ("000", "001"):
        assert (out / f"trials/{name}/recipe.yaml").stat().st_mtime_ns == before[name]
    assert "best of 3 trials" in printed


def test_the_best_is_what_its_history_says_and_a_recipe_that_trains(finished, store, run_here, tmp_path):
    out, _, _ = finished
    best = max(rows(out), key=lambda row: float(row["dice"]))
    history = list(csv.DictReader((out / f"trials/{best['trial']}/history.csv").open(encoding="utf-8")))
    assert float(best["dice"]) == max(float(row["val_dice"]) for row in history)
    assert (out / f"trials/{best['trial']}/best.keras").is_file()
    assert cv2.imread(str(out / "tuning.png")) is not None
    recipe = yaml.safe_load((out / "best.yaml").read_text(encoding="utf-8"))
    assert recipe["training"]["learning_rate"] == float(best["training.learning_rate"])
    again = ("train", out / "best.yaml", "--data", store, "--out", tmp_path / "run", "--set", "training.epochs=1")
    code, _, err = run_here(*again)
    assert code == 0, err


def test_a_store_that_is_not_there_is_told_in_a_line(run_here, search, tmp_path):
    code, _, err = run_here("tune", search, "--data", tmp_path / "no-store", "--out", tmp_path / "out")
    assert code in (1, 2)
    assert len(err.strip().splitlines()) == 1
    assert "no-store" in err
