"""The temperature fitted on validation patients is stored in the model file, and changes what is told, never a mask."""

import csv
import json

import numpy as np
import pytest

from tests.small_models import brightness_model, small_info
from toolkit.errors import StoreError
from toolkit.inference.predictor import Predictor
from toolkit.models.model_file import read_info, save_model
from toolkit.workflows.calibrate import calibrate
from toolkit.workflows.evaluate import evaluate

SIZE = 32


def model_that_is_too_sure(path, store, **more):
    """A network of one pixel's width, its logit ten times the brightness above the middle of the range."""
    known = {"data_kind": store.index.kind, "data_checksums_sha256": store.index.checksums_sha256}
    save_model(brightness_model(20.0, -10.0), path, small_info(**known | more))
    return path


@pytest.fixture
def store(make_store, make_case):
    """Heads in which the brighter a pixel, the oftener it is tumour, but not as often as the model says."""

    def one(number):
        case = make_case(f"p{number:02d}", f"p{number:02d}", seed=number)
        rng = np.random.default_rng(number)
        case.images[:] = rng.integers(1, 250, case.images.shape)
        chance = 1 / (1 + np.exp(-6 * (case.images[..., 0] / 250 - 0.5)))
        case.mask[:] = rng.uniform(size=chance.shape) < chance
        return case

    return make_store([one(number) for number in range(30)])


@pytest.fixture
def model(store, tmp_path):
    (tmp_path / "run").mkdir()
    return model_that_is_too_sure(tmp_path / "run" / "best.keras", store)


def test_the_temperature_is_stored_and_nothing_else_changes(store, model, tmp_path):
    before = read_info(model)
    images, _ = store.read(store.index.cases[0], range(5))
    probability = Predictor(model).predict(images)
    mask = Predictor(model).mask(probability)
    result = calibrate(model.parent, store.path, tmp_path / "out")
    after = read_info(model)
    assert after.temperature == result["temperature"] > 1.5
    assert list(after.offsets) == result["offsets"]
    assert after.model_copy(update={"temperature": 1.0, "offsets": ()}) == before
    predictor = Predictor(model)
    np.testing.assert_array_equal(predictor.predict(images), probability)
    np.testing.assert_array_equal(predictor.mask(probability), mask)
    logits = np.log(probability[..., 0]) - np.log1p(-probability[..., 0])
    told = 1 / (1 + np.exp(-logits / after.temperature - after.offsets[0]))
    np.testing.assert_allclose(predictor.calibrated_tumour(probability), told, atol=1e-5)
    assert list(model.parent.iterdir()) == [model]


def test_it_mends_and_by_how_much_is_measured_on_patients_it_was_not_fitted_on(store, model, tmp_path):
    result = calibrate(model, store.path, tmp_path / "out")
    (low, high), (least, most) = result["cross_fitted"]
    assert least <= result["offsets"][0] <= most
    assert low <= result["temperature"] <= high
    assert low < high
    for name in ("ece", "nll", "brier"):
        assert result["after"][name] < result["before"][name]
        assert result["difference"][f"{name}_95"][1] < 0
    assert result["before"]["n_pixels"] == result["after"]["n_pixels"]
    assert result["n_patients"] == len(store.index.splits.by_patient["val"])


def test_calibrating_again_starts_from_the_raw_probability(store, model, tmp_path):
    first = calibrate(model, store.path, tmp_path / "first")
    again = calibrate(model, store.path, tmp_path / "again")
    assert again == first


def test_what_is_written(store, model, tmp_path):
    out = tmp_path / "out"
    result = calibrate(model, store.path, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "calibration.csv",
        "calibration.json",
        "manifest.json",
        "reliability.png",
    ]
    assert json.loads((out / "calibration.json").read_text()) == result
    rows = list(csv.DictReader((out / "calibration.csv").read_text().splitlines()))
    assert [row["of"] for row in rows] == ["before"] * 15 + ["after"] * 15
    counted = sum(int(row["pixels"]) for row in rows if row["of"] == "before")
    assert counted == result["before"]["n_pixels"]
    assert list(json.loads((out / "manifest.json").read_text())["model"]) == [str(model)]


def test_bts_evaluate_tells_the_error_before_and_after(store, model, tmp_path):
    before = evaluate(model, store.path, "val", tmp_path / "before")
    result = calibrate(model, store.path, tmp_path / "out")
    after = evaluate(model, store.path, "val", tmp_path / "after")
    assert before["calibration"] == {"temperature": 1.0, "offsets": []} | result["before"]
    assert after["calibration"]["temperature"] == result["temperature"]
    assert after["calibration"]["ece"] == pytest.approx(result["after"]["ece"], abs=0.01)
    assert after["per_image_mean"] == before["per_image_mean"]


def test_bts_evaluate_tells_what_to_look_at(store, model, tmp_path):
    metrics = evaluate(model, store.path, "val", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/per_image.csv").read_text().splitlines()))
    scores = [float(row["review_score"]) for row in rows]
    assert all(0 <= score <= 1 for score in scores)
    review = metrics["review_score"]
    assert review["pictures"]["n"] == len(rows) == metrics["n_images"]
    assert review["pictures"]["n_low"] == sum(float(row["dice"]) < 0.5 for row in rows)
    assert review["cases"]["n"] == len({row["case"] for row in rows})
    page = (tmp_path / "out/report.html").read_text()
    assert "Reliability diagram" in page
    assert "Expected calibration error" in page


def test_without_a_tumour_nothing_is_fitted_and_the_model_stays(make_store, make_case, tmp_path):
    cases = [make_case(f"p{number}", f"p{number}", seed=number) for number in range(8)]
    for case in cases:
        case.mask[:] = 0
    store = make_store(cases)
    model = model_that_is_too_sure(tmp_path / "model.keras", store)
    before = model.read_bytes()
    with pytest.raises(StoreError, match="too few with a tumour"):
        calibrate(model, store.path, tmp_path / "out")
    assert model.read_bytes() == before
    assert not (tmp_path / "out").exists()
