"""A folder of scans: what is written of each and of all, in one process or several, at once or after a stop."""

import csv
import json
import pickle
import re
import weakref

import cv2
import nibabel as nib
import numpy as np
import pytest

from tests.small_models import brightness_model, scan, small_info
from tests.toolkit.data.sources.dicom_files import write_series
from toolkit.data.familiarity import case_brightness, fit_familiarity
from toolkit.data.intensity import intensity_range
from toolkit.errors import ServerError, SourceError
from toolkit.inference.predictor import Settings
from toolkit.inference.unfinished import FOLDER
from toolkit.models.model_file import save_model
from toolkit.workflows import predict_case
from toolkit.workflows.predict import TABLE_COLUMNS, predict

N_CASES = 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for index in range(N_CASES):
        cv2.imwrite(str(folder / f"case {index + 8}.png"), scan(1, 40, 36, seed=index)[0, ..., 0].astype(np.uint8))
    (folder / "broken.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def model(small_exports):
    return small_exports.tflite()


@pytest.fixture(scope="module")
def done(pictures, model, tmp_path_factory):
    """The folder, predicted at once in one process."""
    out = tmp_path_factory.mktemp("done")
    predict([pictures], model, out)
    return out


def written(out):
    """All that a run writes, but for what differs from run to run: its manifest."""
    files = {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    files.pop(next(path for path in files if path.name == "manifest.json"))
    return {
        path: re.sub(rb"<footer>.*</footer>", b"", content, flags=re.S) if path.suffix == ".html" else content
        for path, content in files.items()
    }


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


def test_several_processes_write_what_one_does_byte_for_byte(done, pictures, model, tmp_path):
    predict([pictures], model, tmp_path, jobs=2)
    assert written(tmp_path) == written(done)
    assert list(summary_of(tmp_path)["cases"]) == [f"case_{number}" for number in range(8, 8 + N_CASES)]


def test_volumes_are_shared_out_as_pictures_are(model, tmp_path):
    volume = np.moveaxis(scan(5, 40, 36)[..., 0], 0, -1)
    for name in "12":
        write_series(tmp_path / f"in/{name}", volume, SeriesDescription=name, SeriesInstanceUID=f"1.2.3.{name}")
        nib.save(nib.Nifti1Image(volume, np.diag([0.9, 0.9, 5.0, 1])), tmp_path / f"in/{name}.nii.gz")
    for jobs in (1, 2):
        summary = predict([tmp_path / "in"], model, tmp_path / str(jobs), jobs=jobs)
        assert (len(summary["cases"]), summary["failed"]) == (4, {})
    one, two = written(tmp_path / "1"), written(tmp_path / "2")
    # A DICOM SEG has an identity and a time of its own.
    assert {path for path in one if one[path] != two[path]} <= {path for path in one if path.suffix == ".dcm"}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_several_clients_of_a_server_write_what_one_does(pictures, small_exports, tmp_path, protocol):
    from tests.serving_double.grpc_double import GrpcDouble
    from tests.serving_double.rest_double import RestDouble
    from tests.serving_double.served_models import Loaded, ServedModels

    server = {"grpc": GrpcDouble, "http": RestDouble}[protocol](
        ServedModels({"small": {1: Loaded(small_exports.saved_model)}})
    )
    try:
        for jobs in (1, 2):
            predict([pictures], f"{server.base}/small", tmp_path / str(jobs), jobs=jobs)
    finally:
        server.close()
    assert written(tmp_path / "2") == written(tmp_path / "1")


def test_what_can_not_be_read_is_named_everywhere_and_the_rest_is_done(done, pictures):
    summary = summary_of(done)
    (reason,) = summary["failed"].values()
    assert list(summary["failed"]) == [str(pictures / "broken.png")]
    assert len(summary["cases"]) == N_CASES
    with (done / "summary.csv").open(newline="") as file:
        (failed,) = [row for row in csv.DictReader(file) if row["error"]]
    assert (failed["name"], failed["input"], failed["error"]) == ("broken", str(pictures / "broken.png"), reason)
    assert not any(failed[column] for column in TABLE_COLUMNS if column not in ("name", "input", "error"))
    index = (done / "report.html").read_text()
    assert "Could not be read" in index
    assert reason in index


def test_the_table_has_a_row_a_case_with_the_numbers_of_the_summary(done):
    with (done / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert [row["name"] for row in rows] == ["broken", *summary_of(done)["cases"]]
    for row, case in zip(rows[1:], summary_of(done)["cases"].values(), strict=True):
        assert row["slices"] == str(case["shape"][0])
        for column in set(TABLE_COLUMNS) - {"name", "slices", "error", "dice_with_mask_in_file"}:
            assert row[column] == ("" if case[column] is None else str(case[column])), column
        assert row["volume_ml"] == row["dice_with_mask_in_file"] == ""


def test_the_index_shows_first_what_to_look_at_first(done):
    order = re.findall(r'<span class="name">(.*?)</span>', (done / "report.html").read_text())
    scores = {name: case["review_score"] for name, case in summary_of(done)["cases"].items()}
    assert [scores[name] for name in order] == sorted(scores.values(), reverse=True)
    assert len(set(scores.values())) > 1
    for name in scores:
        assert (done / "cases" / f"{name}.html").is_file()


def test_of_a_lone_scan_the_report_is_its_page(pictures, model, tmp_path):
    summary = predict([pictures / "case 8.png"], model, tmp_path, jobs=4)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "case_8_mask.png",
        "case_8_overlay.png",
        "manifest.json",
        "report.html",
        "summary.csv",
        "summary.json",
    ]
    assert '<canvas id="canvas"' in (tmp_path / "report.html").read_text()
    assert 0 < summary["cases"]["case_8"]["review_score"] < 1


def test_a_scan_unlike_the_training_scans_is_said_to_be_so_in_summary_page_and_index(pictures, tmp_path):
    known = [pictures / f"case {number}.png" for number in range(8, 12)]
    images = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[None, ..., None] for file in known]
    familiarity = fit_familiarity([case_brightness(image, intensity_range(image)) for image in images])
    model = tmp_path / "model.keras"
    save_model(brightness_model(30.0, -20.0), model, small_info(familiarity=familiarity))
    noise = np.random.default_rng(1).integers(0, 255, (40, 36)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    summary = predict([known[1], tmp_path / "noise.png"], model, tmp_path / "out")
    told = {name: case["unlikeness"] for name, case in summary["cases"].items()}
    assert told["case_9"] <= 1
    assert told["noise"] > 1
    pages = {name: (tmp_path / f"out/cases/{name}.html").read_text(encoding="utf-8") for name in told}
    assert "This scan is unlike those" in pages["noise"]
    assert "This scan is unlike those" not in pages["case_9"]
    assert (tmp_path / "out/report.html").read_text(encoding="utf-8").count("unlike the training scans</strong>") == 1


def test_a_model_that_does_not_know_its_training_scans_warns_of_none(done):
    assert {case["unlikeness"] for case in summary_of(done)["cases"].values()} == {None}
    assert "nlike the training scans" not in (done / "report.html").read_text(encoding="utf-8")


def test_maps_that_are_asked_for_lie_beside_the_mask_and_in_the_page(pictures, small_exports, tmp_path):
    scan_file = pictures / "case 9.png"
    asked = Settings(flips=True)
    predict([scan_file], small_exports.keras_file, tmp_path, asked=asked, explain=True, uncertainty_files=True)
    page = (tmp_path / "report.html").read_text()
    for kind, layer in (("uncertainty", "Uncertainty"), ("disagreement", "Disagreement"), ("grad_cam", "Grad-CAM")):
        values = cv2.imread(str(tmp_path / f"case_9_{kind}.png"), cv2.IMREAD_UNCHANGED)
        assert values.shape == (40, 36)
        assert values.std() > 0
        assert cv2.imread(str(tmp_path / f"case_9_{kind}_overlay.png")).shape[0] == 512
        assert f'href="case_9_{kind}.png"' in page
        assert page.count(layer) >= 2  # toggle and link
    assert not list(tmp_path.glob("*attention*")), "this network has no gates"


def test_maps_that_are_not_asked_for_are_layers_only(done):
    assert not [*done.rglob("*uncertainty*"), *done.rglob("*grad_cam*")]
    assert "Uncertainty" in (done / "cases/case_8.html").read_text()
    assert "Enhanced image" in (done / "cases/case_8.html").read_text()


def test_if_none_can_be_read_nothing_is_written(pictures, model, tmp_path):
    for jobs in (1, 2):
        (tmp_path / "in").mkdir(exist_ok=True)
        for name in ("one.png", "two.png"):
            (tmp_path / "in" / name).write_text("no picture")
        with pytest.raises(SourceError, match=r"one\.png"):
            predict([tmp_path / "in"], model, tmp_path / "out", jobs=jobs)
        assert not (tmp_path / "out").exists()


@pytest.fixture
def watched(monkeypatch):
    """Lets a test see each question to the model, and step in."""
    ask, asked = predict_case.examine, []

    def watch(step_in=lambda: None):
        def examine(predictor, case, *more):
            step_in()
            asked.append(case.case)
            return ask(predictor, case, *more)

        monkeypatch.setattr(predict_case, "examine", examine)
        return asked

    return watch


def test_after_a_stop_only_the_rest_is_asked_for(done, pictures, model, tmp_path, watched):
    def stop_at_the_third():
        if len(asked) == 2:
            raise ServerError("no server")

    asked = watched(stop_at_the_third)
    with pytest.raises(ServerError, match=f"no server; 2 of {N_CASES + 1} scans are done, and the same command goes"):
        predict([pictures], model, tmp_path)
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    assert not (tmp_path / "summary.json").exists()
    first = list(asked)
    asked = watched()
    asked.clear()
    predict([pictures], model, tmp_path)
    assert len(first) == 2
    assert sorted(first + asked) == [f"case_{number}" for number in sorted(map(str, range(8, 8 + N_CASES)))]
    assert written(tmp_path) == written(done)


def test_each_input_is_hashed_once(pictures, model, tmp_path, monkeypatch):
    hashed = []
    checksums = predict_case.file_checksums
    monkeypatch.setattr(predict_case, "file_checksums", lambda files: hashed.extend(files) or checksums(files))
    predict([pictures], model, tmp_path)
    assert len(hashed) == len(set(hashed)) == N_CASES
    assert set(json.loads((tmp_path / "manifest.json").read_text())["inputs"]) == set(map(str, hashed))


def test_a_case_is_let_go_before_the_next_is_read(pictures, model, tmp_path, monkeypatch):
    """So that a folder of volumes fits in memory: there is never more than one; what is kept of it is small."""
    taken, rows = [], []
    read, do = predict_case.read_scan, predict_case.CasePredictor.__call__

    def read_one(*arguments):
        assert all(earlier() is None for earlier in taken)
        scan = read(*arguments)
        taken.append(weakref.ref(scan))
        return scan

    def keep_row(predictor, task):
        rows.append(do(predictor, task))
        return rows[-1]

    monkeypatch.setattr(predict_case, "read_scan", read_one)
    monkeypatch.setattr(predict_case.CasePredictor, "__call__", keep_row)
    predict([pictures], model, tmp_path)
    assert len(taken) == N_CASES
    assert all(len(pickle.dumps(row)) < 20_000 for row in rows)
