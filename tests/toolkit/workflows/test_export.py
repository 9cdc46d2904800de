"""`bts-export` from end to end: what is written, what is compared, and what is kept back."""

import json

import numpy as np
import pytest

from tests.small_models import scan, small_info, stand_in
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError, OutputError, StoreError, UsageError
from toolkit.export import parity
from toolkit.inference.predictor import Predictor
from toolkit.models.model_file import read_info, save_model
from toolkit.workflows.export import Target, export

LITE = Target("tflite")


@pytest.fixture(scope="module")
def info():
    return small_info(modalities=("t1c", "t2f"))


@pytest.fixture(scope="module")
def model(tmp_path_factory, info):
    path = tmp_path_factory.mktemp("run") / "model.keras"
    save_model(stand_in(info), path, info)
    return path


@pytest.fixture
def trained_on(tmp_path, small_exports):
    """A model file that says it was trained on a store."""

    def make(store, model=None, **changes):
        info = small_exports.info.model_copy(update={"data_checksums_sha256": store.index.checksums_sha256, **changes})
        save_model(model or stand_in(info), tmp_path / "trained.keras", info)
        return tmp_path / "trained.keras"

    return make


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_all_kinds_are_written_with_the_proof_beside_them(model, info, tmp_path):
    out = tmp_path / "out"
    targets = [Target("savedmodel"), LITE, Target("tflite", "float32", (40, 28))]
    report = export(model, targets, out)
    files = ["small", "small_float32.tflite", "small_float32_40x28.tflite"]
    assert names(out) == sorted([*files, "MODEL_CARD.md", "manifest.json", "parity.json"])
    assert json.loads((out / "parity.json").read_text()) == report
    assert list(report["exports"]) == files
    assert "phantoms" in report["asked_about"]
    images = scan(5, modalities=2)
    expected = Predictor(model).predict(images)
    for file, row in report["exports"].items():
        assert row["passed"]
        assert row["max_difference"] < 1e-5
        assert row["dice_between"] == 1
        assert row["slices"] > 100
        size = sum(f.stat().st_size for f in (out / file).rglob("*") if f.is_file()) or (out / file).stat().st_size
        assert row["bytes"] == size
        assert read_info(out / file) == info
        np.testing.assert_allclose(Predictor(out / file).predict(images), expected, atol=1e-5)
    assert report["exports"]["small"]["with_tensorflow_alone"]["passed"]
    assert list(json.loads((out / "manifest.json").read_text())["model"]) == [str(model)]


def test_a_second_export_replaces_the_first_and_nothing_else(model, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        export(model, [LITE], out, name="heads")
    assert names(out) == ["MODEL_CARD.md", "heads_float32.tflite", "manifest.json", "parity.json"]
    (out / "heads").mkdir()
    (out / "heads/letters.txt").touch()
    with pytest.raises(OutputError, match="heads: is no earlier result of ours"):
        export(model, [Target("savedmodel")], out, name="heads")
    assert names(out / "heads") == ["letters.txt"]


def test_an_export_too_far_from_keras_is_kept_back_with_its_numbers(model, tmp_path, monkeypatch):
    """Half precision rounds; where no rounding at all is allowed, it is refused, and says what it missed."""
    monkeypatch.setitem(parity.TOLERANCES, "float16", ("max_difference", 1e-9))
    out = tmp_path / "out"
    message = r"out: small_float16\.tflite is too far from Keras \(by .* in max_difference, allowed are 1e-09\): not"
    with pytest.raises(ModelError, match=message):
        export(model, [Target("tflite", "float16")], out)
    assert names(out) == ["parity.json"]
    row = json.loads((out / "parity.json").read_text())["exports"]["small_float16.tflite"]
    assert row["passed"] is False
    assert 1e-9 < row["max_difference"] == row["off_by"]


def test_a_savedmodel_is_kept_back_too_and_an_earlier_one_stays(model, tmp_path, monkeypatch):
    out = tmp_path / "out"
    (out / "small").mkdir(parents=True)
    (out / "small/saved_model.pb").write_bytes(b"earlier")
    monkeypatch.setitem(parity.TOLERANCES, "float32", ("max_difference", -1.0))
    with pytest.raises(ModelError, match="small is too far from Keras"):
        export(model, [Target("savedmodel")], out)
    assert names(out) == ["parity.json", "small"]
    assert (out / "small/saved_model.pb").read_bytes() == b"earlier"


def test_masks_of_another_size_that_differ_are_kept_back_though_no_truth_is_known(model, tmp_path, monkeypatch):
    """Slices brought to another size have no truth: what is judged is how far both masks are apart."""
    monkeypatch.setitem(parity.TOLERANCES, "dynamic", ("dice_change", -1.0))
    with pytest.raises(ModelError, match=r"small_dynamic_24x24\.tflite is too far from Keras .* in dice_between"):
        export(model, [Target("tflite", "dynamic", (24, 24))], tmp_path / "out")


# --- with the store of the training -----------------------------------------------


def test_a_store_gives_validation_patients_to_compare_and_training_patients_to_calibrate(
    make_store, trained_on, tmp_path, monkeypatch
):
    store, seen = make_store(), {}
    model = trained_on(store)
    info = read_info(model)

    def caught(model, info, card, precision, plane, calibration):
        seen["windows"] = list(calibration())
        raise ModelError("enough")

    judged = export(model, [LITE], tmp_path / "out", store.path)
    assert f"validation patients of {store.path}" in judged["asked_about"]
    assert judged["exports"]["small_float32.tflite"]["dice_change"] == pytest.approx(0, abs=1e-6)
    monkeypatch.setattr("toolkit.export.tflite.tflite_model", caught)
    with pytest.raises(ModelError, match="enough"):
        export(model, [Target("tflite", "int8", (32, 32))], tmp_path / "out", store.path)

    def slices_of(part):
        spans = store.spans_of(info.recipe, part)
        return {image.tobytes() for s in spans for image in store.read(s.case, range(s.start, s.stop))[0]}

    shown = {slices.astype(np.int16).tobytes() for window, _ in seen["windows"] for slices in window[0]}
    assert len(seen["windows"]) > 5
    assert shown <= slices_of("train")
    assert not shown & slices_of("val")
    for window, limits in seen["windows"]:
        assert window.shape == (1, 4, 32, 32, 1)
        assert limits.shape == (1, 1, 2)
        assert limits[0, 0, 1] > 20  # as stored, and so is the range


def test_int8_is_written_where_its_dice_holds(make_store, trained_on, small_exports, tmp_path):
    store = make_store()
    model = trained_on(store, small_exports.model)
    out = tmp_path / "out"
    row = export(model, [Target("tflite", "int8")], out, store.path)["exports"]["small_int8.tflite"]
    assert row["judged_by"] == "dice_change"
    assert abs(row["dice_change"]) <= 0.01
    images = scan(5)
    marked = [Predictor(path).predict(images) >= 0.5 for path in (model, out / "small_int8.tflite")]
    assert (marked[0] == marked[1]).mean() > 0.95


def test_another_store_is_refused(make_store, make_case, trained_on, tmp_path):
    model = trained_on(make_store())
    other = make_store([make_case(f"q{n}-a", f"q{n}", seed=50 + n) for n in range(6)], folder="other")
    with pytest.raises(StoreError, match=r"other: is not the store that .*trained\.keras was trained on; give --data"):
        export(model, [LITE], tmp_path / "out", other.path)
    assert names(tmp_path / "out") == []


# --- what can't be had ------------------------------------------------------------


def test_what_can_not_be_had_is_told_before_anything_is_computed(model, tmp_path, monkeypatch):
    def no_network(*_):
        raise AssertionError("computed already")

    monkeypatch.setattr("toolkit.export.float32_model.load_model", no_network)
    in_mm = tmp_path / "in_mm.keras"
    info = small_info({"spacing_mm": (3.0, 1.0, 1.0)})
    save_model(stand_in(info), in_mm, info)
    refusals = [
        (model, [Target("tflite", "int8")], {}, "--precision int8: needs --data STORE"),
        (model, [LITE], {"serving": tmp_path / "serving"}, "--serving: .* takes a SavedModel; add --format savedmodel"),
        (in_mm, [Target("tflite", "float32", (40, 28))], {}, "--size: this model works in mm"),
    ]
    for path, targets, more, message in refusals:
        with pytest.raises(UsageError, match=message):
            export(path, targets, tmp_path / "out", **more)
    assert names(tmp_path / "out") == []


def test_probes_of_a_case_come_with_the_range_of_all_of_it(make_store, make_case, trained_on, tmp_path):
    """Only slices around the middle are asked about, but a scan is normalised as a whole."""
    from toolkit.workflows.export import _probes_of_store

    cases = [make_case(f"p{n}-a", f"p{n}", n_slices=20, seed=n) for n in range(12)]
    for case in cases:
        case.images[0] *= 20
    store = make_store(cases)
    info = read_info(trained_on(store))
    probes = list(_probes_of_store(store, info))
    assert probes
    for probe in probes:
        assert probe.images.shape == (12, 32, 32, 1)
        whole = next(case for case in cases if case.case == probe.name)
        np.testing.assert_array_equal(probe.images, whole.images[4:16])
        np.testing.assert_array_equal(probe.value_range, intensity_range(whole.images))
        assert probe.value_range[0, 1] > intensity_range(probe.images)[0, 1]
