"""A model file says what it is for, also to those without Keras, and a damaged one is found out."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from pydantic import ValidationError

import toolkit
from toolkit.config import check_recipe
from toolkit.errors import ModelError, OutputError
from toolkit.layers.attention_gate import AttentionGate
from toolkit.models.enhancer import build_enhancer
from toolkit.models.model_file import (
    ENTRY,
    ModelInfo,
    PostProcessing,
    load_model,
    read_info,
    replace_info,
    save_model,
)

INFO = ModelInfo(
    recipe=check_recipe({"name": "trial", "data": {"image_size": 64}}, "test"),
    modalities=("t1c", "flair"),
    label_map={"oedema": 1, "core": 2},
    data_kind="nifti",
    data_checksums_sha256={"train-000.tfrecord": "ab" * 32},
    synthetic_data=True,
    threshold=0.4,
)
SLICES = np.random.default_rng(1).random((1, 8, 8, 2), np.float32)


@pytest.fixture(scope="module")
def model():
    """Not the whole segmenter: a layer of ours and a normalisation tell as much."""
    slices = keras.Input((8, 8, 2), name="slices")
    gated, _ = AttentionGate(4)([slices, keras.layers.Conv2D(3, 1)(slices)])
    probability = keras.layers.Conv2D(1, 1, activation="sigmoid", name="probability")(gated)
    model = keras.Model({"slices": slices}, {"probability": probability}, name="segmenter")
    model.compile(keras.optimizers.AdamW(), loss="binary_crossentropy", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    save_model(model, path, INFO)
    return path


def rewrite(source, target, change):
    """Copy a zip; `change(name, content)` gives the new content, None leaves the entry out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def assert_refused(path, read=read_info):
    with pytest.raises(ModelError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


# --- there and back -----------------------------------------------------------------


def test_what_was_said_of_the_model_comes_back(file):
    assert read_info(file) == INFO
    assert read_info(file).version == toolkit.__version__


def test_the_model_comes_back_with_it(model, file):
    loaded, info = load_model(file)
    assert info == INFO
    before, after = (keras.ops.convert_to_numpy(each({"slices": SLICES})["probability"]) for each in (model, loaded))
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_new_process_knows_every_layer_of_ours(tmp_path):
    """One that has imported none of them by building a model before."""
    enhancer = build_enhancer(INFO.recipe.model.enhancer, (2, 32, 32, 2))
    save_model(enhancer, tmp_path / "enhancer.keras", INFO)
    load = "import sys; from pathlib import Path; from toolkit.models import model_file; "
    load += "print(model_file.load_model(Path(sys.argv[1]))[0].count_params())"
    answer = subprocess.run(
        [sys.executable, "-c", load, tmp_path / "enhancer.keras"], capture_output=True, text=True, check=False
    )
    assert answer.stdout.split() == [str(enhancer.count_params())], answer.stderr


def test_it_is_still_a_file_of_keras(file):
    assert keras.saving.load_model(file).name == "segmenter"


def test_the_optimiser_is_left_out(model, file):
    """AdamW keeps two numbers for each weight; they are of no use to who predicts."""
    import h5py

    assert len(model.optimizer.variables) > 2 * len(model.trainable_variables)
    with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as weights, h5py.File(weights) as stored:
        assert "optimizer" not in stored
    assert model.optimizer.built  # of the model that goes on training


def test_nothing_else_is_left_in_the_folder_and_a_second_save_takes_its_place(model, file, tmp_path):
    path = tmp_path / "best.keras"
    for threshold in (0.4, 0.6):
        save_model(model, path, INFO.model_copy(update={"threshold": threshold}))
    assert list(tmp_path.iterdir()) == [path]
    assert read_info(path).threshold == 0.6


def test_the_information_is_read_without_keras(file):
    """A command that only lists models must not wait for TensorFlow."""
    code = (
        "import sys; from pathlib import Path; from toolkit.models.model_file import read_info; "
        "info = read_info(Path(sys.argv[1])); "
        "print(info.modalities, sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(toolkit.__file__).parents[1],
    )
    assert done.stdout.strip() == "('t1c', 'flair') []"


# --- post-processing ----------------------------------------------------------------

CHOSEN = INFO.model_copy(update={"post_processing": PostProcessing(smallest_component=0.001, fill_holes=True)})


def test_a_file_from_before_there_was_post_processing_has_none(file, tmp_path):
    def without(name, content):
        return content.replace(b'"post_processing"', b'"was_not_there"') if name == ENTRY else content

    assert_refused(rewrite(file, tmp_path / "renamed.keras", without))
    old = json.loads(INFO.model_dump_json())
    del old["post_processing"]
    path = rewrite(file, tmp_path / "old.keras", lambda name, c: json.dumps(old) if name == ENTRY else c)
    assert read_info(path) == INFO
    assert read_info(path).post_processing == PostProcessing()


@pytest.mark.parametrize("wrong", [{"smallest_component": 1}, {"smallest_component": -0.1}, {"largest": True}])
def test_post_processing_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        PostProcessing(**wrong)


def test_a_file_from_before_there_was_calibration_has_the_temperature_1(file, tmp_path):
    old = json.loads(INFO.model_dump_json())
    del old["temperature"], old["offsets"]
    path = rewrite(file, tmp_path / "old.keras", lambda name, c: json.dumps(old) if name == ENTRY else c)
    assert read_info(path) == INFO
    assert (read_info(path).temperature, read_info(path).offsets) == (1, ())


@pytest.mark.parametrize("wrong", [0, -1, "inf", "nan"])
def test_a_temperature_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError, match="temperature"):
        ModelInfo(**{**dict(INFO), "temperature": wrong})


def test_other_information_leaves_the_model_as_it_is(file, tmp_path):
    path = Path(shutil.copy(file, tmp_path / "best.keras"))
    replace_info(path, CHOSEN)
    assert read_info(path) == CHOSEN
    with zipfile.ZipFile(file) as before, zipfile.ZipFile(path) as after:
        assert after.testzip() is None
        assert sorted(after.namelist()) == sorted(before.namelist())
        for name in set(before.namelist()) - {ENTRY}:
            assert after.read(name) == before.read(name)
    assert load_model(path)[1] == CHOSEN
    assert list(tmp_path.iterdir()) == [path]


def test_where_the_disk_is_full_the_file_stays_as_it_was(file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = Path(shutil.copy(file, tmp_path / "best.keras"))
    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OutputError, match=r"best\.keras: can't be written"):
        replace_info(path, CHOSEN)
    assert path.read_bytes() == file.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_is_not_given_other_information(file, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"cut\.keras: damaged"):
        replace_info(path, CHOSEN)
    assert list(tmp_path.iterdir()) == [path]


# --- damaged, or something else -----------------------------------------------------


def test_a_missing_file_is_an_error_that_says_what_to_give(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.keras: no such model; give a run folder or a model file"):
        read_info(tmp_path / "absent.keras")


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "scan.keras"
    path.write_bytes(b"\x89PNG" + bytes(100))
    assert_refused(path)


def test_a_model_of_keras_that_is_not_ours_is_refused(file, tmp_path):
    foreign = rewrite(file, tmp_path / "foreign.keras", lambda name, content: None if name == ENTRY else content)
    assert_refused(foreign)
    assert_refused(foreign, load_model)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", INFO.model_dump_json().replace("image_size", "picture_size").encode(), b" " * 2**21],
    ids=["empty", "cut", "a list", "no keys", "unknown key", "a megabyte of nothing"],
)
def test_information_that_does_not_fit_is_refused(file, tmp_path, content):
    assert_refused(rewrite(file, tmp_path / "m.keras", lambda name, old: content if name == ENTRY else old))


def test_a_file_cut_short_is_refused(file, tmp_path):
    path, content = tmp_path / "cut.keras", file.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert_refused(path)


def test_changed_bytes_are_found_out_whatever_they_hit(file, tmp_path):
    """The directory at the end of a zip: method, flags, versions, lengths, names."""
    path, content = tmp_path / "changed.keras", file.read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    refused = 0
    for position in range(directory, len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            assert read_info(path) == INFO
        except ModelError:
            refused += 1
    assert refused > 20


def test_weights_that_are_damaged_are_found_out_when_the_model_is_loaded(file, tmp_path):
    path = rewrite(
        file, tmp_path / "m.keras", lambda name, content: content[:500] if name == "model.weights.h5" else content
    )
    assert read_info(path) == INFO
    assert_refused(path, load_model)
