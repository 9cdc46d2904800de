"""A SavedModel folder: what another team finds in it, and that it needs nothing of ours to run."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from tests.small_models import scan, small_info, stand_in
from toolkit.data.intensity import intensity_range
from toolkit.data.regions import label_mask
from toolkit.data.sources.pictures import to_grey
from toolkit.errors import ModelError
from toolkit.export.parity import Probe
from toolkit.export.saved_model import _decoded, signatures, write_saved_model
from toolkit.export.saved_model_process import SavedModelProcess
from toolkit.export.serving_graph import ServingGraph
from toolkit.inference.predictor import Predictor
from toolkit.inference.runtimes.keras_file import KerasRuntime
from toolkit.models.model_file import ModelInfo
from toolkit.workflows.predict import predict

# Python's loader, unlike a server, leaves no input to its default; NaN is that default.
NOT_KNOWN = tf.fill((1, 1, 2), np.float32(np.nan))
TENSORFLOW = Path(find_spec("tensorflow").origin).parent


def definitions(path):
    """Signatures as a server reads them, out of the file."""
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (graph,) = content.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    return {name: d for name, d in graph.signature_def.items() if not name.startswith("__")}


def plain(tensors):
    """Name to type and shape; -1 is any size."""
    return {
        name: (tf.as_dtype(info.dtype).name, tuple(d.size for d in info.tensor_shape.dim))
        for name, info in tensors.items()
    }


@pytest.fixture(scope="module")
def loaded(small_exports):
    return tf.saved_model.load(str(small_exports.saved_model))


@pytest.fixture(scope="module")
def images():
    return scan(6)


@pytest.fixture(scope="module")
def expected(small_exports, images):
    """What Keras says."""
    runtime = KerasRuntime("model", small_exports.model, small_exports.info)
    return runtime.probability(images, intensity_range(images), None)


@pytest.fixture(scope="module")
def in_mm(tmp_path_factory):
    """A model that works in mm: runtime and folder."""
    info = small_info({"spacing_mm": (3.0, 1.0, 1.0)}, modalities=("t1c", "t2f"))
    model, path = stand_in(info), tmp_path_factory.mktemp("in_mm") / "model"
    write_saved_model(model, info, "card", path)
    return KerasRuntime("model", model, info), path


# --- what lies in the folder ------------------------------------------------------

SLICES, RANGE = {"slices": ("float32", (-1, -1, -1, -1, 1))}, {"value_range": ("float32", (-1, -1, 2))}


def test_signatures_inputs_and_outputs_have_the_names_that_are_promised(small_exports):
    found = {name: (plain(d.inputs), plain(d.outputs)) for name, d in definitions(small_exports.saved_model).items()}
    marked = {"probability": ("float32", (-1, -1, -1, -1, 1)), "mask": ("uint8", (-1, -1, -1, -1))}
    assert set(found) == {"serving_default", "enhance", "encoded", "describe"}
    assert found["serving_default"] == (SLICES | RANGE, marked)
    assert found["enhance"] == (SLICES | RANGE, {"enhanced": ("float32", (-1, -1, -1, -1, 1))})
    assert found["encoded"] == ({"picture_bytes": ("string", (-1, 1))}, {"mask_bytes": ("string", (-1,))})
    assert found["describe"] == ({"requests": ("int32", (-1,))}, {"information": ("string", (-1,))})


def test_a_client_of_a_server_may_leave_the_range_out(small_exports):
    for name in ("serving_default", "enhance"):
        defaults = definitions(small_exports.saved_model)[name].defaults
        assert set(defaults) == {"value_range"}
        value = tf.make_ndarray(defaults["value_range"])
        assert value.shape == (1, 1, 2)
        assert np.isnan(value).all()


def test_a_model_in_mm_asks_for_the_spacing_and_takes_no_lone_pictures(in_mm):
    found = definitions(in_mm[1])
    assert set(found) == {"serving_default", "enhance", "describe"}
    assert plain(found["serving_default"].inputs)["spacing_mm"] == ("float32", (-1, 3))
    assert set(found["serving_default"].defaults) == {"value_range"}


def test_what_the_model_was_made_for_lies_beside_it_and_is_told_to_clients(small_exports, loaded):
    assets = small_exports.saved_model / "assets"
    assert ModelInfo.model_validate_json((assets / "bts.json").read_text()) == small_exports.info
    assert (assets / "MODEL_CARD.md").read_text() == small_exports.CARD
    told = loaded.signatures["describe"](requests=tf.constant([0, 7], tf.int32))["information"].numpy()
    assert [ModelInfo.model_validate_json(text) for text in told] == [small_exports.info] * 2


# --- what it says -----------------------------------------------------------------


def test_slices_as_stored_are_answered_as_by_keras(small_exports, loaded, images, expected):
    serve = loaded.signatures["serving_default"]
    answer = serve(slices=tf.constant(images[None], tf.float32), value_range=NOT_KNOWN)
    np.testing.assert_allclose(answer["probability"].numpy()[0], expected, atol=1e-5)
    predictor = Predictor(small_exports.keras_file)
    assert 0.1 < predictor.mask(expected).mean() < 0.9
    np.testing.assert_array_equal(answer["mask"].numpy()[0], predictor.mask(expected))


def test_a_model_in_mm_answers_as_keras_does(in_mm):
    runtime, path = in_mm
    case, spacing_mm = scan(5, 30, 26, modalities=2), (6.0, 0.7, 1.3)
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = {"slices": tf.constant(case[None], tf.float32), "spacing_mm": tf.constant([spacing_mm], tf.float32)}
    answer = serve(**inputs, value_range=NOT_KNOWN)
    wanted = runtime.probability(case, intensity_range(case), spacing_mm)
    np.testing.assert_allclose(answer["probability"].numpy()[0], wanted, atol=1e-5)


def test_enhanced_slices_are_in_the_units_of_the_scan(loaded, images):
    enhance = loaded.signatures["enhance"]
    small, large = (
        enhance(slices=tf.constant(case[None], tf.float32), value_range=NOT_KNOWN)["enhanced"].numpy()[0]
        for case in (images, images * 10 + 50)
    )
    assert np.abs(small - images).max() > 1
    np.testing.assert_allclose(large, small * 10 + 50, rtol=1e-3, atol=1)


# --- pictures ---------------------------------------------------------------------


def write_pictures(folder):
    """A head as picture files of all kinds that the toolkit reads too."""
    grey = scan(1, 48, 37)[0, ..., 0].astype(np.uint8)
    # Blue, green and red are unlike, so luminance has to be weighed.
    colour = np.stack([grey // 2, grey, 255 - grey], axis=-1)
    folder.mkdir()
    cv2.imwrite(str(folder / "grey.png"), grey)
    cv2.imwrite(str(folder / "deep.png"), grey.astype(np.uint16) * 200 + 17)
    cv2.imwrite(str(folder / "colour.png"), colour)
    cv2.imwrite(str(folder / "deep_colour.png"), colour.astype(np.uint16) * 200 + 17)
    cv2.imwrite(str(folder / "transparent.png"), np.dstack([colour, 255 - grey]))
    cv2.imwrite(str(folder / "grey.jpg"), grey)
    cv2.imwrite(str(folder / "colour.jpg"), colour)
    Image.fromarray(colour[..., ::-1].copy()).quantize(32).save(folder / "palette.png")
    Image.fromarray(grey > 100).save(folder / "one_bit.png")
    return sorted(folder.iterdir())


def test_a_picture_file_gets_the_mask_file_that_bts_predict_writes(small_exports, loaded, tmp_path):
    pictures = write_pictures(tmp_path / "pictures")
    cases = predict([tmp_path / "pictures"], small_exports.keras_file, tmp_path / "out")["cases"]
    written = {case["input"]: tmp_path / "out" / case["mask"] for case in cases.values()}
    for path in pictures:
        answer = loaded.signatures["encoded"](picture_bytes=tf.constant([[path.read_bytes()]]))["mask_bytes"]
        (mask,) = (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED) for file in answer.numpy())
        ours = cv2.imread(str(written[str(path)]), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(ours)) == {0, 255}, path.name
        np.testing.assert_array_equal(mask, ours, err_msg=path.name)


def test_halves_of_luminance_are_rounded_alike():
    """0.299 red + 0.587 green + 0.114 blue is exactly a half for one colour in a thousand."""
    colours = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    assert (colours @ np.array([114, 587, 299]) % 1000 == 500).sum() > 20
    _, file = cv2.imencode(".png", colours)
    np.testing.assert_array_equal(_decoded(tf.constant(file.tobytes())).numpy(), to_grey(colours))


def test_pictures_of_several_modalities_get_a_mask_of_label_values():
    regions = {"whole": [1, 2], "core": [1]}
    info = small_info(model={"regions": regions}, modalities=("t1c", "t2f"), label_map={"core": 1, "oedema": 2})
    model = stand_in(info, seed=1)
    encoded = signatures(ServingGraph(model, info))["encoded"]
    cases = scan(2, 40, 40, modalities=2).astype(np.uint8)
    files = [[cv2.imencode(".png", case[..., m])[1].tobytes() for m in range(2)] for case in cases]
    answer = encoded(tf.constant(files))["mask_bytes"].numpy()
    runtime, found = KerasRuntime("model", model, info), set()
    for case, file in zip(cases[:, None], answer, strict=True):
        probability = runtime.probability(case, intensity_range(case), None)
        wanted = label_mask(probability, info.recipe.model, 0.5)[0]
        mask = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, wanted)
        found |= set(np.unique(wanted).tolist())
    assert found == {0, 1, 2}


# --- elsewhere --------------------------------------------------------------------


def probe(images):
    return Probe("case", images, intensity_range(images), None, None)


def test_it_runs_where_neither_keras_nor_this_toolkit_is(small_exports, images, expected):
    short = images[:1] * 3
    alone = SavedModelProcess(small_exports.saved_model, [probe(images), probe(short)])
    np.testing.assert_allclose(alone.probability(images, None, None), expected, atol=1e-5)
    assert alone.probability(short, None, None).shape == (1, 40, 28, 1)


def test_one_that_does_not_run_there_is_named_with_the_reason(small_exports, images, tmp_path):
    broken = tmp_path / "broken"
    (broken / "assets").mkdir(parents=True)
    (broken / "assets/bts.json").write_bytes((small_exports.saved_model / "assets/bts.json").read_bytes())
    with pytest.raises(ModelError, match=r"broken: does not run with TensorFlow alone \(.*SavedModel"):
        SavedModelProcess(broken, [probe(images)])


def test_it_runs_through_the_interface_that_a_server_in_another_language_has(small_exports, images, expected, tmp_path):
    """Loaded by its tag and asked by tensor names of the signature, the way TensorFlow Serving does."""
    definition = definitions(small_exports.saved_model)["serving_default"]
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, slices=images[None], value_range=tf.make_ndarray(definition.defaults["value_range"]))
    feeds = [f"{definition.inputs[name].name}={name}" for name in ("slices", "value_range")]
    script = Path(__file__).with_name("tensorflow_c.py")
    command = [sys.executable, "-I", script, TENSORFLOW, small_exports.saved_model, arrays, *feeds]
    command.append(definition.outputs["probability"].name)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(arrays)["answer"][0], expected, atol=1e-5)
