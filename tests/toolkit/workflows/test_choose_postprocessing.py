"""What is chosen on validation patients is stored in the model file, and used from then on."""

import csv
import json

import numpy as np
import pytest

from tests.small_models import brightness_model, small_info
from toolkit.inference.predictor import Predictor
from toolkit.models.model_file import PostProcessing, read_info, save_model
from toolkit.workflows.choose_postprocessing import choose_postprocessing
from toolkit.workflows.evaluate import evaluate

SIZE = 32


def model_that_marks_what_is_bright(path, store, **more):
    """A network of one pixel's width: from two thirds of the range on it says tumour."""
    index = store.index
    known = {"data_kind": index.kind, "data_checksums_sha256": index.checksums_sha256}
    save_model(brightness_model(30.0, -20.0), path, small_info(**known | more))
    return path


@pytest.fixture
def store(make_store, make_case):
    """Heads with a bright tumour and, elsewhere, a bright speck that is none."""

    def one(number):
        case = make_case(f"p{number}", f"p{number}", seed=number)
        case.images[:] = np.where(case.mask[..., None], 250, case.images // 4)
        case.images[:, 24:26, 12:14] = 250
        return case

    return make_store([one(number) for number in range(12)])


@pytest.fixture
def model(store, tmp_path):
    (tmp_path / "run").mkdir()
    return model_that_marks_what_is_bright(tmp_path / "run" / "best.keras", store)


def test_what_does_best_is_stored_and_nothing_else_changes(store, model, tmp_path):
    before, images = read_info(model), store.read(store.index.cases[0], range(5))[0]
    probability = Predictor(model).predict(images)
    result = choose_postprocessing(model.parent, store.path, tmp_path / "out")
    after = read_info(model)
    assert after.post_processing != PostProcessing()
    assert after.model_copy(update={"threshold": 0.5, "post_processing": PostProcessing()}) == before
    np.testing.assert_array_equal(Predictor(model).predict(images), probability)
    best = result["rows"][0]
    assert best == {"threshold": after.threshold, **after.post_processing.model_dump()} | {
        key: best[key] for key in ("dice", "gain", "gain_low", "gain_high")
    }
    assert best["dice"] == 1 > result["none"]["dice"]
    assert best["gain_low"] > 0
    assert list(model.parent.iterdir()) == [model]


def test_bts_evaluate_finds_the_dice_of_the_table_before_and_after(store, model, tmp_path):
    before = evaluate(model, store.path, "val", tmp_path / "before")
    result = choose_postprocessing(model, store.path, tmp_path / "out")
    after = evaluate(model, store.path, "val", tmp_path / "after")
    for metrics, row in ((before, result["none"]), (after, result["rows"][0])):
        assert metrics["per_image_mean"]["dice"] == pytest.approx(row["dice"])
        assert metrics["n_images"] == result["n_images"]
        assert metrics["n_patients"] == result["n_patients"]
    assert before["post_processing"] == PostProcessing().model_dump()
    assert after["post_processing"] == read_info(model).post_processing.model_dump()


def test_all_candidates_are_written_the_best_first(store, model, tmp_path):
    result = choose_postprocessing(model, store.path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "postprocessing.csv"]
    rows = list(csv.DictReader((tmp_path / "out/postprocessing.csv").read_text().splitlines()))
    assert [float(row["dice"]) for row in rows] == [row["dice"] for row in result["rows"]]
    dice = [row["dice"] for row in result["rows"]]
    assert dice == sorted(dice, reverse=True)
    assert list(json.loads((tmp_path / "out/manifest.json").read_text())["model"]) == [str(model)]


def test_where_none_is_better_what_was_stored_before_is_taken_out(make_store, make_case, tmp_path):
    cases = [make_case(f"p{number}", f"p{number}", seed=number) for number in range(12)]
    for case in cases:
        case.images[:] = np.where(case.mask[..., None], 250, case.images // 4)
    store = make_store(cases)
    stored = {"threshold": 0.8, "post_processing": PostProcessing(largest_only=True)}
    model = model_that_marks_what_is_bright(tmp_path / "model.keras", store, **stored)
    result = choose_postprocessing(model, store.path, tmp_path / "out")
    assert result["rows"][0] == result["none"]
    info = read_info(model)
    assert (info.threshold, info.post_processing) == (0.5, PostProcessing())
