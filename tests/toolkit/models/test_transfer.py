"""What a new model takes over from a trained one, and what it says about the rest."""

import keras
import numpy as np
import pytest

from toolkit.config import check_recipe
from toolkit.errors import ModelError
from toolkit.models.enhancer import build_enhancer
from toolkit.models.model_file import ModelInfo, save_model
from toolkit.models.segmenter import build_segmenter, inspector
from toolkit.models.transfer import take_over

SIZE, N_SLICES = 32, 2
LGG, FIGSHARE = ("t1n", "t2f", "t1c"), ("t1c",)
BASE = {
    "data": {"image_size": SIZE, "window": {"slices": N_SLICES, "halo": 0}},
    "model": {"enhancer": {"filters": 2}, "encoder_weights": "none", "decoder_filters": [8, 8, 4, 4, 4]},
}


def recipe(seed=1, **model):
    return check_recipe({**BASE, "seed": seed, "model": {**BASE["model"], **model}}, "test")


def save(model, path, modalities, of=None):
    info = ModelInfo(
        recipe=of or recipe(),
        modalities=modalities,
        label_map={"tumour": 1},
        data_kind="nifti",
        data_checksums_sha256={},
        synthetic_data=False,
    )
    save_model(model, path, info)
    return path


def as_if_trained(model, seed=5):
    """Every weight another than at the start, the statistics of norms and the enhancer's zeros included."""
    rng = np.random.default_rng(seed)
    model.set_weights([w * rng.uniform(0.8, 1.2, w.shape) + rng.uniform(0, 0.02, w.shape) for w in model.get_weights()])
    return model


def segment(model, slices):
    return keras.ops.convert_to_numpy(model({"slices": slices})["probability"])


def slices_of(n_modalities, seed=8):
    return np.random.default_rng(seed).random((1, N_SLICES, SIZE, SIZE, n_modalities), np.float32)


def left(transfer):
    """Layers at their start, and why."""
    return {(name.split("/")[0], reason) for name, reason in transfer.not_loaded.items()}


@pytest.fixture(scope="module")
def lgg(tmp_path_factory):
    """A run on three modalities: its folder and its model."""
    folder = tmp_path_factory.mktemp("lgg")
    model = as_if_trained(build_segmenter(recipe(), len(LGG)))
    save(model, folder / "best.keras", LGG)
    return folder, model


@pytest.fixture(scope="module")
def figshare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figshare")
    model = as_if_trained(build_segmenter(recipe(), 1))
    return save(model, folder / "other-name.keras", FIGSHARE), model


# --- the same network ------------------------------------------------------------------


def test_a_model_of_the_same_kind_becomes_the_trained_one(lgg):
    folder, trained = lgg
    model = build_segmenter(recipe(seed=2), 3)
    transfer = take_over(model, folder, LGG, ["tumour"])
    np.testing.assert_array_equal(segment(model, slices_of(3)), segment(trained, slices_of(3)))
    assert len(transfer.loaded) == len(model.weights)
    assert not transfer.adapted
    assert not transfer.not_loaded
    assert transfer.summary() == f"{folder / 'best.keras'}: {len(model.weights)} weights taken over"


def test_layers_that_keras_has_named_are_matched_by_their_order(tmp_path):
    """The normalisation inside B0 has weights, and another number in each process."""
    keras.layers.Normalization()
    of = recipe(encoder="efficientnet-b0")
    path = save(as_if_trained(build_segmenter(of, 1)), tmp_path / "b0.keras", FIGSHARE, of)
    model = build_segmenter(of, 1)
    transfer = take_over(model, path, FIGSHARE, ["tumour"])
    assert not transfer.not_loaded
    assert "encoder/normalization_1/mean" in transfer.loaded


# --- other modalities --------------------------------------------------------------------


def test_modalities_in_another_order_are_matched_by_name(lgg):
    folder, trained = lgg
    model = build_segmenter(recipe(seed=2), 3)
    transfer = take_over(model, folder, ("t1c", "t1n", "t2f"), ["tumour"])
    slices = slices_of(3)
    np.testing.assert_allclose(segment(model, slices[..., [2, 0, 1]]), segment(trained, slices), atol=2e-6)
    assert not transfer.not_loaded


def test_hidden_states_are_not_taken_for_modalities_where_there_are_as_many(tmp_path):
    of = recipe(enhancer={"filters": 3, "bidirectional": False, "resolution": "full"})
    shape = (N_SLICES, SIZE, SIZE, 3)
    trained, model = (build_enhancer(of.model.enhancer, shape) for _ in range(2))
    path = save(as_if_trained(trained), tmp_path / "three.keras", LGG, of)
    take_over(model, path, ("t1c", "t1n", "t2f"), ["tumour"])
    slices = slices_of(3)
    enhanced, before = model({"slices": slices[..., [2, 0, 1]]}), trained({"slices": slices})
    np.testing.assert_allclose(enhanced["enhanced"], keras.ops.take(before["enhanced"], [2, 0, 1], axis=-1), atol=2e-6)


def with_corrections_alike(model):
    """So that the enhanced modalities, too, are the same picture."""
    for layer in model.layers:
        if layer.name in (
            "enhancer_gain_out",
            "enhancer_gain_gates",
            "enhancer_gain_level",
            "enhancer_detail_out",
        ):
            layer.set_weights([np.repeat(w[..., ::3], 3, axis=-1) for w in layer.get_weights()])
    return model


def test_from_three_to_one_the_picture_counts_for_all_three(tmp_path):
    trained = with_corrections_alike(as_if_trained(build_segmenter(recipe(), 3)))
    path = save(trained, tmp_path / "three.keras", LGG)
    model = build_segmenter(recipe(seed=2), 1)
    transfer = take_over(model, path, FIGSHARE, ["tumour"])
    one = slices_of(1)
    before = segment(trained, np.repeat(one, 3, axis=-1))
    np.testing.assert_allclose(segment(model, one), before, atol=2e-6)
    assert before.std() > 5e-4  # it has something to say
    assert not transfer.not_loaded
    layers = {name.split("/")[0] for name in transfer.adapted}
    ends = {
        f"enhancer_{step}"
        for step in (
            *("gain_in", "gain_out", "gain_weigh", "gain_gates", "gain_level"),
            *("detail_read1", "detail_out"),
        )
    }
    assert layers == {"modalities_to_rgb", "decoder0_conv1", *ends}


@pytest.mark.parametrize(("kind", "resolution"), [("convlstm", "full"), ("lstm", "half"), ("lstm", "full")])
def test_so_it_does_in_every_enhancer_that_reads_sequences(tmp_path, kind, resolution):
    of = recipe(enhancer={"kind": kind, "filters": 2, "resolution": resolution})
    shape = (N_SLICES, SIZE, SIZE)
    trained = with_corrections_alike(as_if_trained(build_enhancer(of.model.enhancer, (*shape, 3))))
    path = save(trained, tmp_path / "three.keras", LGG, of)
    model = build_enhancer(of.model.enhancer, (*shape, 1))
    transfer = take_over(model, path, FIGSHARE, ["tumour"], parts="enhancer")
    one = slices_of(1)
    enhanced, before = model({"slices": one}), trained({"slices": np.repeat(one, 3, axis=-1)})
    np.testing.assert_allclose(enhanced["enhanced"], before["enhanced"][..., :1], atol=2e-6)
    assert not transfer.not_loaded


def test_from_one_to_three_modalities_that_join_in_start_without_a_say(figshare):
    path, trained = figshare
    model = build_segmenter(recipe(seed=2), 3)
    take_over(model, path, LGG, ["tumour"])
    slices = slices_of(3)
    np.testing.assert_allclose(segment(model, slices), segment(trained, slices[..., 2:]), atol=2e-6)


def test_from_one_to_three_others_each_counts_a_third(figshare):
    path, trained = figshare
    model = build_segmenter(recipe(seed=2), 3)
    take_over(model, path, ("adc", "dwi", "swi"), ["tumour"])
    one = slices_of(1)
    np.testing.assert_allclose(segment(model, np.repeat(one, 3, axis=-1)), segment(trained, one), atol=2e-6)
    kernels = model.get_layer("modalities_to_rgb").get_weights()[0]
    np.testing.assert_allclose(kernels, trained.get_layer("modalities_to_rgb").get_weights()[0] / 3 * np.ones((3, 1)))


def test_what_is_gone_is_shared_out_among_what_is_new(lgg):
    """The sum over modalities stays, whoever they are."""
    folder, trained = lgg
    model = build_segmenter(recipe(seed=2), 3)
    take_over(model, folder, ("t2f", "adc", "dwi"), ["tumour"])
    (t1n, t2f, t1c), after = (m.get_layer("modalities_to_rgb").get_weights()[0][0, 0] for m in (trained, model))
    np.testing.assert_allclose(after, [t2f, (t1n + t1c) / 2, (t1n + t1c) / 2], rtol=1e-6)


def test_each_modality_is_enhanced_as_it_was_and_a_new_one_as_they_are_on_average(lgg):
    folder, trained = lgg
    model = build_segmenter(recipe(seed=2), 2)
    take_over(model, folder, ("t2f", "swi"), ["tumour"])
    before, after = (m.get_layer("enhancer_gain_out").get_weights()[1] for m in (trained, model))
    np.testing.assert_allclose(after, [before[1], before.mean()], rtol=1e-6)


# --- what is left ---------------------------------------------------------------------------


def test_other_regions_leave_the_output_layer_at_its_start(lgg):
    folder, trained = lgg
    of = recipe(seed=2, regions={"core": [1]})
    model = build_segmenter(of, 3)
    start = model.get_layer("logits").get_weights()
    transfer = take_over(model, folder, LGG, list(of.model.regions))
    assert left(transfer) == {("logits", "other regions")}
    for weight, before in zip(model.get_layer("logits").get_weights(), start, strict=True):
        np.testing.assert_array_equal(weight, before)
    norm = "decoder0_norm2"
    np.testing.assert_array_equal(model.get_layer(norm).moving_mean, trained.get_layer(norm).moving_mean)
    assert "  2 left at their start (other regions): logits" in transfer.summary().splitlines()


def test_another_encoder_and_another_size_are_reported(lgg):
    folder, _ = lgg
    """A bias that would fit is left with the kernel that does not."""
    model = build_segmenter(recipe(encoder="efficientnet-b0", decoder_filters=[8, 8, 4, 4, 6]), 3)
    transfer = take_over(model, folder, LGG, ["tumour"])
    assert ("encoder", "not in the source") in left(transfer)
    assert {("decoder0_conv1", "another shape"), ("logits", "another shape")} <= left(transfer)
    assert "logits/bias" in transfer.not_loaded
    assert "modalities_to_rgb/kernel" in transfer.loaded
    assert len(transfer.summary().splitlines()) == 3


def test_filters_that_grow_as_the_modalities_do_are_not_taken_for_them(figshare):
    """One modality to two and every filter twice: only the modalities' axes may be adapted."""
    path, _ = figshare
    model = build_segmenter(recipe(decoder_filters=[16, 16, 8, 8, 8], enhancer={"filters": 4}), 2)
    transfer = take_over(model, path, ("t1c", "t2f"), ["tumour"])
    layers = {name.split("/")[0] for name in transfer.adapted}
    gain = {f"enhancer_gain_{step}" for step in ("in", "out", "weigh", "gates", "level")}
    assert layers == {"modalities_to_rgb", *gain}
    assert {(f"decoder4_{part}", "another shape") for part in ("up", "norm1")} <= left(transfer)


# --- the enhancer alone -----------------------------------------------------------------------


def test_a_pre_trained_enhancer_joins_a_segmenter_that_keeps_the_rest(tmp_path):
    enhancer = as_if_trained(build_enhancer(recipe().model.enhancer, (N_SLICES, SIZE, SIZE, 1)))
    path = save(enhancer, tmp_path / "enhancer.keras", FIGSHARE)
    model = build_segmenter(recipe(seed=2), 1)
    logits = model.get_layer("logits").get_weights()[0]
    transfer = take_over(model, path, FIGSHARE, ["tumour"], parts="enhancer")
    slices = slices_of(1)
    inside = keras.ops.convert_to_numpy(inspector(model)({"slices": slices})["enhanced"])
    np.testing.assert_array_equal(inside, keras.ops.convert_to_numpy(enhancer({"slices": slices})["enhanced"]))
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], logits)
    assert len(transfer.loaded) == len(enhancer.weights)
    assert not transfer.not_loaded


def test_models_that_share_nothing_are_an_error(lgg, tmp_path):
    image = keras.Input((SIZE, SIZE, 3), name="slices")
    other = keras.Model({"slices": image}, {"x": keras.layers.Conv2D(1, 1, name="head")(image)})
    with pytest.raises(ModelError, match=r"best\.keras: shares no weight with this model"):
        take_over(other, lgg[0], LGG, ["tumour"])
    plain = save(other, tmp_path / "plain.keras", LGG)
    with pytest.raises(ModelError, match=r"plain\.keras: shares no weight with this enhancer"):
        take_over(build_segmenter(recipe(), 3), plain, LGG, ["tumour"], parts="enhancer")


def test_a_source_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"absent: no such model"):
        take_over(build_segmenter(recipe(), 1), tmp_path / "absent", FIGSHARE, ["tumour"])
