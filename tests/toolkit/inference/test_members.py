"""Several ways of asking, and several models, as one predictor: mirrored, with dropout on, ensembles."""

import keras
import numpy as np
import pytest

from tests.small_models import N_SLICES, SIZE, awake_segmenter, scan, small_info, stand_in
from toolkit.data.case import Case
from toolkit.errors import ModelError
from toolkit.inference.examination import examine
from toolkit.inference.predictor import Predictor, Settings
from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.models.model_file import save_model

LIVELY = {"enhancer": {"filters": 2}, "network": "unet", "filters": 4, "dropout": 0.5}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two stand-ins that say different things, and a real network with dropout."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (1, 2):
        info = small_info(training_patient_groups=(f"p{seed}", "shared"), threshold=0.3 * seed)
        save_model(stand_in(info, seed), folder / f"{seed}.keras", info)
    info = small_info(model=LIVELY)
    save_model(awake_segmenter(info), folder / "dropout.keras", info)
    return folder


@pytest.fixture(scope="module")
def images():
    return scan(6, 40, 28)


# --- several models ---------------------------------------------------------------


def test_models_answer_together_with_their_mean(models, images):
    files = [models / "1.keras", models / "2.keras"]
    each = [Predictor(file).predict(images) for file in files]
    assert np.abs(each[0] - each[1]).max() > 0.1
    both = Predictor(files)
    np.testing.assert_allclose(both.predict(images), np.mean(each, axis=0), atol=1e-6)
    assert both.name == f"{files[0]} + {files[1]}"
    assert both.files == files


def test_of_several_models_the_first_says_the_threshold_and_all_whom_they_know(models):
    both = Predictor([models / "1.keras", models / "2.keras"])
    assert both.info.threshold == pytest.approx(0.3)
    assert set(both.info.training_patient_groups) == {"p1", "p2", "shared"}


def test_how_far_members_are_apart_is_told_pixel_by_pixel(models, images):
    files = [models / "1.keras", models / "2.keras"]
    each = np.stack([Predictor(file).predict(images)[..., 0] for file in files])
    case = Case(images, None, "p", "c", ("t1c",))
    answer = examine(Predictor(files), case)
    np.testing.assert_allclose(answer.disagreement, 255 * each.std(axis=0) / 0.5, atol=0.51)
    assert examine(Predictor(files[0]), case).disagreement is None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"modalities": ("t2f",)}, "modalities"),
        ({"label_map": {"background": 0, "cyst": 1}}, "labels"),
        ({"model": {"regions": {"core": [1]}}}, "regions"),
    ],
)
def test_models_of_different_things_are_refused(models, tmp_path, other, what):
    info = small_info(**other)
    save_model(stand_in(info), tmp_path / "other.keras", info)
    with pytest.raises(ModelError, match=rf"other\.keras: has other {what} than .*1\.keras"):
        Predictor([models / "1.keras", tmp_path / "other.keras"])


# --- mirrored ---------------------------------------------------------------------


def test_the_mirrored_answer_is_that_of_the_mirrored_case_brought_back(models, images):
    plain = Predictor(models / "1.keras")
    expected = (plain.predict(images) + plain.predict(images[:, :, ::-1])[:, :, ::-1]) / 2
    found = Predictor(models / "1.keras", Settings(flips=True)).predict(images)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - plain.predict(images)).max() > 0.01


def test_flips_of_a_symmetric_network_change_nothing(tmp_path, images):
    info = small_info()
    slices = keras.Input((N_SLICES, SIZE, SIZE, 1), name="slices")
    blur = keras.layers.Conv2D(1, 3, padding="same", use_bias=False, kernel_initializer="ones")
    lone = blur(MergeSlices(name="merge_slices")(slices))
    logits = SplitSlices(N_SLICES, name="split_slices")(lone)
    probability = keras.layers.Activation("sigmoid", name="probability")(logits)
    save_model(keras.Model({"slices": slices}, {"probability": probability}), tmp_path / "even.keras", info)
    plain = Predictor(tmp_path / "even.keras").predict(images)
    flipped = Predictor(tmp_path / "even.keras", Settings(flips=True)).predict(images)
    assert plain.std() > 0.05
    np.testing.assert_allclose(flipped, plain, atol=1e-6)


# --- dropout ----------------------------------------------------------------------


def opinions(predictor, images):
    return np.stack([one.probability for one in predictor.stream(images)], axis=1)


def test_each_sample_drops_something_else_and_the_model_itself_comes_first(models, images):
    plain = Predictor(models / "dropout.keras").predict(images)
    members = opinions(Predictor(models / "dropout.keras", Settings(dropout_samples=3)), images)
    assert len(members) == 4
    np.testing.assert_allclose(members[0], plain, atol=1e-6)
    apart = [np.abs(a - b).mean() for i, a in enumerate(members) for b in members[i + 1 :]]
    assert min(apart) > 1e-4


def test_a_sample_is_the_same_each_time_and_whatever_others_there_are(models, images):
    few, many = (opinions(Predictor(models / "dropout.keras", Settings(dropout_samples=n)), images) for n in (1, 3))
    np.testing.assert_allclose(few, many[:2], atol=1e-6)
    again = Predictor(models / "dropout.keras", Settings(dropout_samples=1))
    np.testing.assert_array_equal(opinions(again, images), opinions(again, images))


def test_batch_norms_do_not_wake_up_with_dropout(models, images):
    """In training they would take the batch's own mean, and remember it."""
    predictor = Predictor(models / "dropout.keras", Settings(dropout_samples=1))
    weights = {w.path: w for w in predictor._members[0].model.weights if "moving" in w.path}
    before = {path: w.numpy().copy() for path, w in weights.items()}
    predictor.predict(images)
    assert before
    for path, values in before.items():
        np.testing.assert_array_equal(weights[path].numpy(), values)


def test_the_mean_of_many_samples_comes_near_the_model(models, images):
    predictor = Predictor(models / "dropout.keras", Settings(dropout_samples=30))
    plain, *samples = opinions(predictor, images[:2])
    one = np.abs(samples[0] - plain).mean()
    assert np.abs(np.mean(samples, axis=0) - plain).mean() < 0.6 * one


def test_dropout_needs_a_model_that_has_some_and_in_keras(models, small_exports):
    with pytest.raises(ModelError, match=r"1\.keras: was made without dropout"):
        Predictor(models / "1.keras", Settings(dropout_samples=2))
    with pytest.raises(ModelError, match=r"exported models have no dropout; take the \.keras file"):
        Predictor(small_exports.tflite(), Settings(dropout_samples=2))
