"""What peers are given of a store, and how they are judged; their trainings need libraries that are not here."""

import csv

import numpy as np
import pytest
from peer_training import difference, results, slices_of

from toolkit.config import load_recipe
from toolkit.data.pipeline import WindowSet
from toolkit.data.sources.phantom import phantom_cases
from toolkit.data.store import Store
from toolkit.data.store_writer import StoreWriter
from toolkit.evaluation.comparison import COLUMNS
from toolkit.evaluation.evaluator import evaluate_cases


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    writer = StoreWriter(tmp_path / "store", "phantom", 1)
    for case in phantom_cases(12, 1, 64, 4):
        writer.add(case)
    writer.finish()
    return Store(tmp_path / "store")


@pytest.fixture
def windows(store):
    changes = ["data.split=folds", "data.fold=1", "data.window={slices: 1, halo: 0}", "data.image_size=32"]
    return WindowSet(store, "val", load_recipe("figshare", changes), augment=False)


def test_each_slice_of_the_part_is_there_once_and_a_perfect_peer_has_dice_1(store, windows, tmp_path):
    images, masks = slices_of(windows)
    spans = store.spans("folds", "val", 1)
    assert images.shape == masks.shape == (sum(span.n_slices for span in spans), 32, 32)
    assert images.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}
    metrics = evaluate_cases(results(store, windows, masks.astype(np.float32)), tmp_path)
    # Up to what is lost on the way to 32 pixels and back.
    assert metrics["per_image_mean"]["dice"] > 0.9
    assert metrics["n_images"] == len(images)
    with (tmp_path / "per_image.csv").open(encoding="utf-8") as file:
        assert {row["case"] for row in csv.DictReader(file)} == {span.case.case for span in spans}


def test_masks_of_other_cases_would_be_seen(store, windows, tmp_path):
    _, masks = slices_of(windows)
    metrics = evaluate_cases(results(store, windows, np.roll(masks, 4, axis=0).astype(np.float32)), tmp_path)
    assert metrics["per_image_mean"]["dice"] < 0.6


def write(path, dice):
    metrics = [metric for metric in COLUMNS.values() if metric != "dice"]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["case", "patient_group", "label", "slice", "dice", *metrics], restval=0.5)
        table.writeheader()
        for group, values in dice.items():
            for number, value in enumerate(values):
                row = {"case": group, "patient_group": group, "label": "tumour", "slice": number, "dice": value}
                table.writerow(row)
    return path


def test_the_difference_is_a_mean_over_patients_not_over_pictures(tmp_path):
    ours = write(tmp_path / "ours.csv", {"a": [0.9, 0.9, 0.9], "b": [0.5]})
    theirs = write(tmp_path / "theirs.csv", {"a": [0.8, 0.8, 0.8], "b": [0.2]})
    told = difference(ours, theirs)
    assert told["ours_minus_theirs"] == pytest.approx(0.2)  # (0.1 + 0.3) / 2
    assert told["confidence_95"] == pytest.approx([0.1, 0.3])
    assert told["n_patient_groups"] == 2


def test_other_patients_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="different patients"):
        difference(write(tmp_path / "a.csv", {"a": [1.0]}), write(tmp_path / "b.csv", {"b": [1.0]}))
