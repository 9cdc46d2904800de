"""A model leaves the toolkit, and marks scans elsewhere as it does here: pixel for pixel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.small_models import scan, small_info, stand_in
from toolkit.models.model_file import save_model

pytestmark = pytest.mark.end_to_end
REPOSITORY = Path(__file__).parents[2]
WITHOUT_TENSORFLOW = (
    "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras'])); from cli.predict import main; main()"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, small_exports, run_command) -> Path:
    """What a user gets who wants every kind."""
    out = tmp_path_factory.mktemp("exported")
    arguments = ("--format", "savedmodel", "--format", "tflite", "--size", "48x37", "--name", "heads", "--out", out)
    code, said, err = run_command("export", small_exports.keras_file, *arguments)
    assert code == 0, err
    assert err == ""
    assert f"{out / 'heads'}: " in said
    assert "compared with Keras: 6 cases, phantoms; each also as 16 x + 100" in said
    assert "probability differs by at most" in said
    assert f"parity: {out / 'parity.json'}" in said
    return out


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A picture, and a sequence of slices in 16 bits."""
    folder = tmp_path_factory.mktemp("scans")
    cv2.imwrite(str(folder / "slice.png"), scan(1, 48, 37)[0, ..., 0].astype(np.uint8))
    cv2.imwritemulti(str(folder / "sequence.tif"), list(scan(7, 48, 37, seed=1)[..., 0].astype(np.uint16) * 11))
    return folder


def masks(out: Path) -> dict[str, np.ndarray]:
    """Pages of each mask, by the name of its file."""
    return {p.name: np.array(cv2.imreadmulti(str(p), flags=cv2.IMREAD_UNCHANGED)[1]) for p in out.glob("*_mask.*")}


@pytest.fixture(scope="module")
def here(tmp_path_factory, small_exports, scans, run_here) -> dict[str, np.ndarray]:
    """The masks of the model in Keras."""
    out = tmp_path_factory.mktemp("here")
    code, _, err = run_here("predict", scans, "--model", small_exports.keras_file, "--out", out)
    assert code == 0, err
    found = masks(out)
    assert {name: len(pages) for name, pages in found.items()} == {"slice_mask.png": 1, "sequence_mask.tif": 7}
    assert all(0.1 < (pages > 0).mean() < 0.9 for pages in found.values())
    return found


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, pages in expected.items():
        np.testing.assert_array_equal(found[name], pages, err_msg=name)


def test_the_savedmodel_marks_the_same_pixels(exported, scans, here, tmp_path, run_here):
    code, _, err = run_here("predict", scans, "--model", exported / "heads", "--out", tmp_path / "out")
    assert code == 0, err
    assert_same(masks(tmp_path / "out"), here)
    checksums = json.loads((tmp_path / "out/manifest.json").read_text())["model"]
    assert str(exported / "heads/saved_model.pb") in checksums


def test_the_tflite_file_marks_the_same_pixels_where_tensorflow_is_not_installed(exported, scans, here, tmp_path):
    model = exported / "heads_float32_48x37.tflite"
    arguments = [scans, "--model", model, "--out", tmp_path / "out"]
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(masks(tmp_path / "out"), here)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_marks_the_same_pixels(exported, scans, here, tmp_path, run_here, protocol):
    from tests.serving_double.grpc_double import GrpcDouble
    from tests.serving_double.rest_double import RestDouble
    from tests.serving_double.served_models import Loaded, ServedModels

    served = ServedModels({"heads": {1: Loaded(exported / "heads")}})
    double = {"grpc": GrpcDouble, "http": RestDouble}[protocol](served)
    try:
        code, _, err = run_here("predict", scans, "--server", f"{double.base}/heads", "--out", tmp_path / "out")
    finally:
        double.close()
    assert code == 0, err
    assert "serving_default" in {name for name, _ in served.predicted}
    assert_same(masks(tmp_path / "out"), here)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_where_a_server_dies_in_a_batch_the_same_command_goes_on_with_the_rest(
    exported, scans, here, tmp_path, run_here, protocol, monkeypatch
):
    from tests.serving_double.grpc_double import GrpcDouble
    from tests.serving_double.rest_double import RestDouble
    from tests.serving_double.served_models import Loaded, ServedModels
    from toolkit.inference.runtimes.server import retry
    from toolkit.workflows import predict_case as workflow

    monkeypatch.setattr(retry, "GIVE_UP_S", 1.0)
    make, loaded = {"grpc": GrpcDouble, "http": RestDouble}[protocol], Loaded(exported / "heads")
    double = make(ServedModels({"heads": {1: loaded}}))
    address = double.base
    # It dies when the first mask lies there.
    write_mask = workflow.write_mask

    def and_die(*arguments):
        double.close()
        return write_mask(*arguments)

    monkeypatch.setattr(workflow, "write_mask", and_die)
    arguments = ("predict", scans, "--server", f"{address}/heads", "--out", tmp_path / "out")
    code, _, err = run_here(*arguments)
    assert code == 1
    assert "1 of 2 scans are done, and the same command goes on with the rest" in one_line(err)
    assert len(masks(tmp_path / "out")) == 1
    assert not (tmp_path / "out/report.html").exists()

    monkeypatch.setattr(workflow, "write_mask", write_mask)
    served = ServedModels({"heads": {1: loaded}})
    again = make(served, port=double.port)
    try:
        code, _, err = run_here(*arguments)
    finally:
        again.close()
    assert code == 0, err
    assert [name for name, _ in served.predicted].count("serving_default") == 1, "the finished scan is not sent again"
    assert_same(masks(tmp_path / "out"), here)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_scan_of_another_size_is_named_with_what_to_export(exported, tmp_path, run_here):
    cv2.imwrite(str(tmp_path / "larger.png"), scan(1, 60, 40)[0, ..., 0].astype(np.uint8))
    model = exported / "heads_float32_48x37.tflite"
    code, _, err = run_here("predict", tmp_path / "larger.png", "--model", model, "--out", tmp_path / "out")
    assert code == 1
    assert "is for slices of 48x37 pixels, the scan has 60x40; export with --size 60x40" in one_line(err)
    assert not (tmp_path / "out").exists()


# --- faults -----------------------------------------------------------------------


def one_line(err: str) -> str:
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Models that can leave, and some that can't."""
    folder, good = tmp_path_factory.mktemp("models"), small_info()
    recipes = {
        "good": good.recipe,
        "enhancer": good.recipe.model_copy(update={"task": "enhance"}),
        "in_mm": small_info({"spacing_mm": (3.0, 1.0, 1.0)}).recipe,
        "shuffled": small_info({"window": {"slices": 4, "halo": 1, "shuffled": True}}).recipe,
    }
    for name, recipe in recipes.items():
        save_model(stand_in(good), folder / f"{name}.keras", good.model_copy(update={"recipe": recipe}))
    return {name: folder / f"{name}.keras" for name in recipes} | {"missing": folder / "missing.keras"}


LITE = ("--format", "tflite")
REFUSED = [
    ("good", (*LITE, "--precision", "int8"), 2, "--precision int8: needs --data STORE"),
    ("good", ("--size", "64x64"), 2, "--precision and --size are of TFLite; add --format tflite"),
    ("good", ("--precision", "float16"), 2, "--precision and --size are of TFLite; add --format tflite"),
    ("good", (*LITE, "--size", "64"), 2, "--size 64: write it as HEIGHTxWIDTH in pixels, e.g. 512x512"),
    ("good", (*LITE, "--size", "0x64"), 2, "--size 0x64: write it as HEIGHTxWIDTH"),
    ("good", (*LITE, "--serving", "serving"), 2, "--serving: TensorFlow Serving takes a SavedModel"),
    ("good", ("--name", "a/b"), 2, "--name a/b: "),
    ("in_mm", (*LITE, "--size", "64x64"), 2, "--size: this model works in mm"),
    ("enhancer", (), 1, "enhancer.keras: is an enhancer and marks no tumours"),
    ("shuffled", (), 1, "shuffled.keras: was trained on shuffled neighbours"),
    ("missing", (), 1, "missing.keras: no such model; give a run folder"),
    ("good", ("--data", "nowhere"), 1, "nowhere: "),
]


@pytest.mark.parametrize(
    ("model", "options", "code", "message"), REFUSED, ids=[f"{r[0]} {' '.join(r[1])}" for r in REFUSED]
)
def test_what_can_not_be_had_is_refused_in_one_line(
    models, model, options, code, message, tmp_path, monkeypatch, run_here
):
    monkeypatch.chdir(tmp_path)
    found, _, err = run_here("export", models[model], *options, "--out", "out")
    assert message in one_line(err)
    assert found == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["saved_model", "tflite"])
def test_what_was_exported_is_not_exported_again(small_exports, tmp_path, run_here, kind):
    model = small_exports.tflite() if kind == "tflite" else small_exports.saved_model
    code, _, err = run_here("export", model, "--out", tmp_path / "out")
    assert code == 1
    assert "is no .keras file, which this needs" in one_line(err)


def test_another_store_is_refused(models, tmp_path, run_here):
    store = tmp_path / "store"
    assert run_here("prepare", "phantom", "--out", store, "--patients", 6, "--size", 32)[0] == 0
    code, _, err = run_here("export", models["good"], "--data", store, "--out", tmp_path / "out")
    assert code == 1
    assert f"{store}: is not the store that {models['good']} was trained on" in one_line(err)
    assert not (tmp_path / "out").exists()


def test_an_export_too_far_from_keras_is_not_written(models, tmp_path, monkeypatch, run_here):
    from toolkit.export import parity

    monkeypatch.setitem(parity.TOLERANCES, "float32", ("max_difference", -1.0))
    code, _, err = run_here("export", models["good"], *LITE, "--out", tmp_path / "out")
    assert code == 1
    assert "small_float32.tflite is too far from Keras" in one_line(err)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["parity.json"]


@pytest.mark.parametrize("named", [(), ("--model", "good.keras", "--server", "http://localhost/v1/models/heads")])
def test_a_prediction_needs_a_model_or_a_server_and_not_both(tmp_path, run_here, named):
    code, _, err = run_here("predict", "slice.png", *named, "--out", tmp_path / "out")
    assert code == 2
    assert "name a model: --model RUN, or --server URL" in one_line(err)
