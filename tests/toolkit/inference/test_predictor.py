"""From stored slices to probabilities in the slices' own size, window by window."""

import keras
import numpy as np
import pytest

from toolkit.config import check_recipe
from toolkit.data.grid import WayBack, model_grid
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.windows import windows
from toolkit.errors import ModelError
from toolkit.inference import predictor as module
from toolkit.inference.predictor import Predictor, Settings, find_model
from toolkit.inference.runtimes.by_windows import WindowRuntime
from toolkit.models.model_file import ModelInfo, PostProcessing, save_model
from toolkit.models.segmenter import build_segmenter

SIZE, N_SLICES = 32, 4
RECIPE = check_recipe(
    {
        "data": {"image_size": SIZE, "window": {"slices": N_SLICES, "halo": 1}},
        "model": {
            "enhancer": {"filters": 2},
            "encoder_weights": "none",
            "decoder_filters": [8, 8, 4, 4, 4],
        },
    },
    "test",
)
INFO = ModelInfo(
    recipe=RECIPE,
    modalities=("t1c",),
    label_map={"tumour": 1},
    data_kind="phantom",
    data_checksums_sha256={},
    synthetic_data=True,
)
AS_STORED = np.array([[0.0, 1.0]], np.float32)
"""A range that makes normalised values those of the file."""


class FakeRuntime(WindowRuntime):
    """Enhances a batch of windows by a function and calls that the probability; remembers the batches."""

    batch_windows, batch_slices = 2, 3

    def __init__(self, answer):
        self.name, self.answer, self.windows, self.slices = "model.keras", answer, [], []

    def enhance(self, batch):
        self.windows.append(batch)
        return self.answer(batch)

    def network(self, slices, wanted):
        self.slices.append(slices)
        return {"probability": slices}


def predictor_of(runtime, monkeypatch, tmp_path, info=INFO):
    path = tmp_path / "model.keras"
    path.touch()
    runtime.info = info
    monkeypatch.setattr(module, "open_runtime", lambda path: runtime)
    return Predictor(path)


def numbered_slices(n):
    """Slice k is 0.1 k everywhere."""
    return np.broadcast_to(0.1 * np.arange(n, dtype=np.float32)[:, None, None, None], (n, SIZE, SIZE, 1))


# --- windows ----------------------------------------------------------------------

# Number of the first slice of the window in which each slice counts, worked by hand for S = 4 and a halo of 1.
DECIDED_IN = {
    1: [0],
    3: [0, 0, 0],
    4: [0, 0, 0, 0],
    5: [0, 0, 0, 1, 1],
    6: [0, 0, 0, 2, 2, 2],
    7: [0, 0, 0, 2, 2, 3, 3],
    11: [0, 0, 0, 2, 2, 4, 4, 6, 6, 7, 7],
}


@pytest.mark.parametrize("n", DECIDED_IN)
def test_each_slice_is_decided_in_the_window_in_which_it_counts(n, monkeypatch, tmp_path):
    def first_slice_of_the_window(slices):
        return np.broadcast_to(slices[:, :1], slices.shape)

    predictor = predictor_of(FakeRuntime(first_slice_of_the_window), monkeypatch, tmp_path)
    probability = predictor.predict(numbered_slices(n), AS_STORED)
    assert probability.shape == (n, SIZE, SIZE, 1)
    np.testing.assert_allclose(probability[:, 0, 0, 0], 0.1 * np.array(DECIDED_IN[n]), atol=1e-6)


@pytest.mark.parametrize("n", [1, 5, 7, 11, 12])
def test_each_slice_gets_its_own_answer(n, monkeypatch, tmp_path):
    model = FakeRuntime(lambda slices: slices)
    predictor = predictor_of(model, monkeypatch, tmp_path)
    np.testing.assert_allclose(predictor.predict(numbered_slices(n), AS_STORED), numbered_slices(n), atol=1e-6, rtol=0)
    assert {len(batch) for batch in model.windows} == {model.batch_windows}
    assert {len(batch) for batch in model.slices} == {model.batch_slices}


# --- size and range ---------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 20), (21, 32)])
def test_a_slice_that_is_not_square_comes_back_where_it_was(shape, monkeypatch, tmp_path):
    """On the grid it lies between margins; nothing is resized, so nothing may change."""
    images = np.random.default_rng(1).random((5, *shape, 1)).astype(np.float32)
    predictor = predictor_of(FakeRuntime(lambda slices: slices), monkeypatch, tmp_path)
    np.testing.assert_allclose(predictor.predict(images, AS_STORED), images, atol=1e-6)


@pytest.mark.parametrize("shape", [(96, 60), (45, 64), (20, 24)])
def test_a_slice_of_another_size_comes_back_in_its_own(shape, monkeypatch, tmp_path):
    rows, columns = np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1])
    slope = (0.7 * rows[:, None] + 0.3 * columns).astype(np.float32)
    images = np.broadcast_to(slope[None, ..., None], (5, *shape, 1))
    predictor = predictor_of(FakeRuntime(lambda slices: slices), monkeypatch, tmp_path)
    result = predictor.predict(images, AS_STORED)
    assert result.shape == images.shape
    inner = (slice(None), slice(4, -4), slice(4, -4))  # at the edge the margin's zeros mix in
    np.testing.assert_allclose(result[inner], images[inner], atol=0.03)


def test_values_are_normalised_by_the_range_of_the_case_or_by_the_one_given(monkeypatch, tmp_path):
    images = np.random.default_rng(2).integers(0, 4000, (5, SIZE, SIZE, 1)).astype(np.int16)
    model = FakeRuntime(lambda slices: slices)
    predictor = predictor_of(model, monkeypatch, tmp_path)
    for value_range in (None, np.array([[100.0, 5000.0]], np.float32)):
        used = intensity_range(images) if value_range is None else value_range
        np.testing.assert_allclose(predictor.predict(images, value_range), normalise(images, used), atol=1e-6)


def test_a_piece_of_a_case_with_the_range_of_the_case_is_answered_as_in_the_case(monkeypatch, tmp_path):
    images = np.random.default_rng(2).integers(0, 4000, (8, SIZE, SIZE, 1)).astype(np.int16)
    images[5:] *= 3
    predictor = predictor_of(FakeRuntime(lambda slices: slices), monkeypatch, tmp_path)
    whole = predictor.predict(images)
    np.testing.assert_array_equal(predictor.predict(images[:4], intensity_range(images)), whole[:4])
    assert np.abs(predictor.predict(images[:4]) - whole[:4]).max() > 0.1


def test_a_scan_with_other_modalities_is_refused(monkeypatch, tmp_path):
    info = INFO.model_copy(update={"modalities": ("t1c", "flair")})
    predictor = predictor_of(FakeRuntime(lambda slices: slices), monkeypatch, tmp_path, info)
    with pytest.raises(ModelError, match=r"model\.keras: needs 2 modalities \(t1c, flair\), the scan has 1"):
        predictor.predict(numbered_slices(4))


# --- masks ------------------------------------------------------------------------


def test_a_pixel_is_tumour_from_the_threshold_on(monkeypatch, tmp_path):
    predictor = predictor_of(FakeRuntime(None), monkeypatch, tmp_path, INFO.model_copy(update={"threshold": 0.25}))
    probability = np.array([0.0, 0.2, 0.25, 1.0]).reshape(1, 2, 2, 1)
    mask = predictor.mask(probability)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[[0, 0], [1, 1]]])


def test_a_mask_is_post_processed_as_the_model_file_says_or_not_at_all(monkeypatch, tmp_path):
    stored = {"threshold": 0.25, "post_processing": PostProcessing(largest_only=True)}
    predictor_of(FakeRuntime(None), monkeypatch, tmp_path, INFO.model_copy(update=stored))
    probability = np.array([0.3, 0.0, 0.9, 0.9]).reshape(1, 1, 4, 1)
    for how, mask in ((True, [0, 0, 1, 1]), (False, [1, 0, 1, 1])):
        predictor = Predictor(tmp_path / "model.keras", Settings(post_processing=how))
        np.testing.assert_array_equal(predictor.mask(probability), [[mask]])
        assert predictor.info.post_processing.largest_only == how


def test_a_model_in_mm_wants_to_know_the_spacing(monkeypatch, tmp_path):
    data = RECIPE.data.model_copy(update={"spacing_mm": (2.0, 1.0, 1.0)})
    info = INFO.model_copy(update={"recipe": RECIPE.model_copy(update={"data": data})})
    model = FakeRuntime(lambda slices: slices)
    predictor = predictor_of(model, monkeypatch, tmp_path, info)
    with pytest.raises(ModelError, match=r"its spacing is unknown.*--spacing"):
        predictor.predict(numbered_slices(8), AS_STORED)
    # Pairs of slices of 1 mm become one of 2 mm, and are interpolated again on the way back.
    there_and_back = predictor.predict(numbered_slices(8), AS_STORED, (1.0, 1.0, 1.0))[:, 0, 0, 0]
    np.testing.assert_allclose(model.windows[0][0, :, 0, 0, 0], [0.05, 0.25, 0.45, 0.65], atol=1e-6)
    np.testing.assert_allclose(there_and_back, [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65], atol=1e-6)


# --- a real model -----------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A run folder with an untrained model, whose enhancer does look at the neighbours."""
    model = build_segmenter(RECIPE, 1)
    correction = model.get_layer("enhancer_detail_out")
    rng = np.random.default_rng(3)
    correction.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in correction.get_weights()])
    run = tmp_path_factory.mktemp("run")
    save_model(model, run / "best.keras", INFO)
    return Predictor(run)


@pytest.fixture(scope="module")
def scan():
    """Seven 8-bit slices, not square: a bright disc that moves through a grey head."""
    y, x = np.indices((40, 28))
    noise = np.random.default_rng(4).integers(0, 30, (7, 40, 28))
    head = np.where((y - 20) ** 2 / 400 + (x - 14) ** 2 / 196 < 0.9, 90, 0)
    lesion = np.stack([(y - 12 - k) ** 2 + (x - 10) ** 2 < 25 for k in range(7)])
    return (noise + head + 120 * lesion).astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def probability(real, scan):
    return real.predict(scan)


def test_the_answer_is_that_of_the_model_window_by_window(real, scan, probability):
    normalised = normalise(scan, intensity_range(scan))
    grid = model_grid(scan.shape[:3], None, RECIPE.data)
    way_back, slices_of_case = WayBack(grid), []
    for window in windows(len(scan), N_SLICES, 1):
        slices = grid.images(lambda wanted: normalised[wanted], window.slices)[None]
        maps = keras.ops.convert_to_numpy(real._members[0].model({"slices": slices})["probability"])[0]
        for index in np.flatnonzero(window.counts):
            slices_of_case += way_back.add(window.slices[index], {"probability": maps[index]})
    expected = np.stack([one["probability"] for one in slices_of_case])
    np.testing.assert_allclose(probability, expected, atol=1e-5)
    assert probability.std() > 1e-3


def test_neighbouring_slices_have_their_say(real, scan, probability):
    changed = scan.copy()
    changed[1] = 255 - changed[1]
    moved = np.abs(real.predict(changed, intensity_range(scan)) - probability).max(axis=(1, 2, 3))
    assert (moved[[0, 1, 2]] > 1e-5).all()
    np.testing.assert_allclose(moved[5:], 0, atol=1e-6)  # decided in the window of slices 3 to 6


def test_a_clinical_scan_and_an_8_bit_picture_of_it_give_the_same_mask(real, scan, probability):
    clinical = (scan.astype(np.int16) * 16 + 100).astype(np.int16)
    again = real.predict(clinical)
    np.testing.assert_allclose(again, probability, atol=1e-6)
    threshold = float(np.median(probability))  # an untrained model is sure of nothing
    masks = [p >= threshold for p in (again, probability)]
    assert 0.3 < masks[1].mean() < 0.7
    np.testing.assert_array_equal(*masks)


def test_the_look_inside_is_in_the_size_of_the_slices_too(real, scan, probability):
    inside = real.inspect(scan, wanted=real.shows)
    assert set(inside) == {"probability", "enhanced", "attention", "grad_cam"}
    assert {values.shape for values in inside.values()} == {(7, 40, 28, 1)}
    np.testing.assert_allclose(inside["probability"], probability, atol=1e-5)


# --- other kinds of model ---------------------------------------------------------


@pytest.mark.parametrize("kind", ["keras_file", "saved_model", "tflite"])
def test_every_kind_of_model_says_the_same(small_exports, scan, kind):
    file = small_exports.tflite() if kind == "tflite" else getattr(small_exports, kind)
    predictor = Predictor(file)
    expected = Predictor(small_exports.keras_file).predict(scan)
    probability = predictor.predict(scan)
    assert predictor.info == small_exports.info
    np.testing.assert_allclose(probability, expected, atol=1e-5)
    np.testing.assert_array_equal(predictor.mask(probability), predictor.mask(expected))
    assert predictor.mask(expected).std() > 0


def test_what_a_kind_of_model_does_not_show_is_refused_with_what_to_take(small_exports, scan):
    shown = {
        small_exports.keras_file: {"enhanced", "grad_cam"},
        small_exports.tflite(): {"enhanced"},
        small_exports.saved_model: set(),
    }
    for file, maps in shown.items():
        predictor = Predictor(file)
        assert predictor.shows == maps  # this network has no gates
        with pytest.raises(ModelError, match=r"does not show attention; take the \.keras file"):
            predictor.inspect(scan, wanted=["attention"])


def test_every_kind_of_file_enhances_alike(small_exports, scan):
    ours, lite = (
        Predictor(file).inspect(scan, wanted=["enhanced"])["enhanced"]
        for file in (small_exports.keras_file, small_exports.tflite())
    )
    assert ours.std() > 0.1
    np.testing.assert_allclose(lite, ours, atol=1e-5)


def test_the_manifest_gets_every_file_of_a_model(small_exports):
    assert Predictor(small_exports.keras_file).files == [small_exports.keras_file]
    files = Predictor(small_exports.saved_model).files
    assert {small_exports.saved_model / name for name in ("saved_model.pb", "assets/bts.json")} < set(files)
    assert all(file.is_file() for file in files)


# --- which model ------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A saved_models/ that holds `figshare.keras`; the working folder is another."""
    shelf, work = tmp_path / "saved_models", tmp_path / "work"
    for folder in (shelf, work):
        folder.mkdir()
    (shelf / "figshare.keras").touch()
    monkeypatch.setattr(module, "MODELS", shelf)
    monkeypatch.chdir(work)
    return shelf


def test_a_model_is_a_run_folder_or_a_file(tmp_path, shelf):
    best = tmp_path / "run" / "best.keras"
    best.parent.mkdir()
    best.touch()
    assert find_model(best.parent) == best
    assert find_model(best) == best


def test_a_model_is_a_name_in_saved_models_with_or_without_its_suffix(shelf):
    assert find_model("figshare") == shelf / "figshare.keras"
    assert find_model("figshare.keras") == shelf / "figshare.keras"


def test_an_exported_model_is_its_file_or_its_folder(tmp_path, shelf):
    (tmp_path / "figshare_int8.tflite").touch()
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/saved_model.pb").touch()
    (shelf / "pocket.tflite").touch()
    for name in ("figshare_int8.tflite", "exported"):
        assert find_model(tmp_path / name) == tmp_path / name
    assert find_model("pocket") == shelf / "pocket.tflite"


def test_a_run_without_a_model_is_an_error_that_says_what_to_do(tmp_path, shelf):
    (tmp_path / "run").mkdir()
    with pytest.raises(ModelError, match=r"run: holds no best\.keras; train first"):
        find_model(tmp_path / "run")


def test_a_missing_model_is_an_error_that_says_what_to_give(shelf):
    with pytest.raises(
        ModelError, match=r"absent: no such model; give a run folder, a \.keras or \.tflite file, .* a name in"
    ):
        find_model("absent")


@pytest.mark.parametrize("path", ["runs/figshare", "elsewhere/figshare.keras"])
def test_a_mistyped_path_does_not_silently_take_a_shipped_model_of_that_name(path, shelf):
    with pytest.raises(ModelError, match="no such model"):
        find_model(path)


def test_a_run_that_has_no_model_yet_does_not_silently_take_a_shipped_one(shelf, tmp_path):
    (tmp_path / "work" / "figshare").mkdir()
    with pytest.raises(ModelError, match="holds no best"):
        find_model("figshare")
