"""The card says what is known of a model, says so where something is not, and makes nothing up."""

import json
from pathlib import Path

import pytest

from toolkit.errors import ModelError
from toolkit.export.model_card import model_card
from toolkit.export.run_facts import RunFacts, read_run_facts
from toolkit.models.model_file import PostProcessing

REPOSITORY = Path(__file__).parents[3]
MANIFEST = {
    "command": "bts-train figshare --data secret/place",
    "version": "0.1.0",
    "python": "3.11.7",
    "packages": {"keras": "3.15.1", "h5py": None},
    "machine": "Linux x86_64, 2 cores",
    "seed": 1,
    "backend": "tensorflow",
    "seconds_training": 3840.0,
}


@pytest.fixture
def metrics():
    return json.loads((REPOSITORY / "docs/results/figshare_metrics.json").read_text(encoding="utf-8"))


def test_a_card_holds_the_runs_own_numbers_with_their_intervals(make_info, metrics):
    card = model_card(make_info(), RunFacts(metrics, MANIFEST))
    assert "| Dice | 0.783 (0.736 to 0.828) | 0.812 | 0.777 |" in card
    assert "| HD95 (pixel) | 15.964 (10.576 to 23.544) | – | 23.554 |" in card
    assert "304 pictures of 25 patient groups, part `val` of the split by_patient" in card
    assert "Validation part; chosen on these patients" in card
    assert "| time | 64 minutes |" in card
    assert "keras 3.15.1" in card
    assert "h5py" not in card
    assert "secret/place" not in card
    assert "| learned from | 3 patient groups |" in card


def test_numbers_of_test_patients_are_not_called_chosen(make_info, metrics):
    assert "chosen on these" not in model_card(make_info(), RunFacts(metrics | {"part": "test"}))
    assert "learned from: the numbers say nothing" in model_card(make_info(), RunFacts(metrics | {"part": "train"}))


def test_of_a_lone_model_file_nothing_is_made_up(make_info):
    card = model_card(make_info(), RunFacts())
    assert "Unknown: no manifest.json" in card
    assert "Unknown: no metrics.json" in card
    assert "0." not in card.split("## How good it is")[1].split("## Limits")[0]
    assert "minutes |" not in card


def test_half_a_manifest_and_half_of_the_metrics_leave_gaps_and_not_errors(make_info):
    card = model_card(make_info(), RunFacts({"per_image_mean": {"dice": 0.5}}, {"seed": 4}))
    assert "| Dice | 0.500 | – | – |" in card
    assert "? pictures of ? patient groups" in card
    assert "| time | unknown |" in card


def test_a_leaking_split_is_named_at_the_top_and_beside_the_numbers(make_info, metrics):
    leaking = make_info({"data": {"split": "by_slice_leaking"}})
    card = model_card(leaking, RunFacts(metrics | {"split_leaks_patients": True}))
    assert "split that leaks" in card.split("## What it is")[0]
    assert "**This split leaks" in card.split("## How good it is")[1]
    assert "leak" not in model_card(make_info(), RunFacts(metrics))


def test_a_model_of_phantoms_is_of_no_use_on_people_and_needs_nobodys_licence(make_info):
    card = model_card(make_info(data_kind="phantom", synthetic_data=True), RunFacts())
    assert "of no use on people" in card.split("## What it is")[0]
    assert "phantoms drawn by the toolkit" in card
    assert "figshare" not in card
    assert "of no use on people" not in model_card(make_info(), RunFacts())


def test_the_licence_follows_the_data_and_the_weights_at_the_start(make_info):
    licence = model_card(make_info(), RunFacts()).split("## Licence")[1]
    assert "CC BY 4.0" in licence
    assert "ImageNet, Apache-2.0" in licence
    foreign = make_info({"model": {"network": "unet"}}, data_kind="nifti")
    licence = model_card(foreign, RunFacts()).split("## Licence")[1]
    assert "not known here" in licence
    assert "CC BY-NC-SA" in licence
    assert "CC BY 4.0" not in licence
    assert "ImageNet" not in licence
    started = make_info({"model": {"enhancer": {"weights": "runs/enhancer_lgg"}}})
    assert "behind runs/enhancer_lgg binds it" in model_card(started, RunFacts())


def test_limits_name_what_the_model_has_never_seen(make_info):
    limits = model_card(make_info(), RunFacts()).split("## Limits")[1]
    assert "Every slice that it learned from shows a tumour" in limits
    assert "one sequence, t1c" in limits
    assert "placeholder" in limits
    several = make_info(data_kind="nifti", modalities=("t1c", "t2f"))
    assert "needs t1c, t2f, in this order" in model_card(several, RunFacts()).split("## Limits")[1]


def test_a_model_in_mm_asks_for_the_spacing_and_takes_no_pictures(make_info):
    in_mm = model_card(make_info({"data": {"spacing_mm": [5, 1, 1]}}), RunFacts())
    assert "`spacing_mm` float32" in in_mm
    assert "`encoded`" not in in_mm
    assert "`encoded`" in model_card(make_info(), RunFacts())


def test_a_name_cant_break_the_tables(make_info):
    card = model_card(make_info(label_map={"background": 0, "a|b\n# c": 1}), RunFacts())
    assert "| 0 background, 1 a\\|b # c |" in card


@pytest.fixture
def run(tmp_path):
    for name, text in {"best.keras": "", "recipe.yaml": "", "metrics.json": '{"a": 1}'}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_facts_are_read_from_the_folder_of_the_run(run):
    assert read_run_facts(run / "best.keras") == RunFacts({"a": 1}, None)


def test_files_beside_a_copied_model_are_not_taken_for_its_own(run):
    copy = run / "mine.keras"
    copy.touch()
    assert read_run_facts(copy) == RunFacts()
    (run / "recipe.yaml").unlink()
    assert read_run_facts(run / "best.keras") == RunFacts()


def test_damaged_metrics_are_named(run):
    for damage in ("{", "[1]", "\udcff"):
        (run / "metrics.json").write_text(damage, errors="surrogateescape")
        with pytest.raises(ModelError, match=r"metrics\.json: can't be read"):
            read_run_facts(run / "best.keras")


def test_post_processing_is_told_and_that_graphs_are_without(make_info, metrics):
    chosen = PostProcessing(smallest_component=0.001, fill_holes=True, largest_only=True)
    card = model_card(make_info(post_processing=chosen), RunFacts(metrics | {"post_processing": chosen.model_dump()}))
    assert "holes within a slice are filled; components go whose largest section covers less than 0.001" in card
    assert "only the largest component is kept" in card
    assert "of a SavedModel are without" in card
    assert "Measured with another" not in card
    assert "Post-processing" not in model_card(make_info(), RunFacts(metrics))


def test_numbers_from_before_post_processing_was_chosen_are_not_passed_off_as_its_own(make_info, metrics):
    for chosen in ({"post_processing": PostProcessing(fill_holes=True)}, {"threshold": 0.4}):
        assert "Measured with another" in model_card(make_info(**chosen), RunFacts(metrics))
