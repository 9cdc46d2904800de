"""A search changes what it says and no more, and is refused where a trial could not be trained or judged alike."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import yaml

from toolkit.config import load_recipe
from toolkit.errors import RecipeError
from toolkit.search import RangeRecipe, load_search

SHIPPED = sorted((Path(__file__).parents[2] / "configs/searches").glob("*.yaml"))
SMALL = {"base": "tiny", "budget": {"epochs": 2}, "space": {"loss.focal": {"low": 0.0, "high": 9.0}}}


@pytest.fixture
def search_file(tmp_path):
    def write(**more):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({**SMALL, **more}, sort_keys=False), encoding="utf-8")
        return file

    return write


def complaint(file, overrides=()):
    with pytest.raises(RecipeError) as caught:
        load_search(file, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_search_loads_by_name_and_starts_from_its_base(file):
    search = load_search(file.stem)
    assert search.start
    assert search.recipe_of(search.start) == search.base


def test_a_trial_is_the_base_with_changes_budget_and_what_was_drawn(search_file):
    search = load_search(search_file(name="mine", set={"model.dropout": 0.3}))
    by_hand = ["name=mine", "model.dropout=0.3", "training.epochs=2", "loss.focal=4"]
    assert search.recipe_of({"loss.focal": 4}) == load_recipe("tiny", by_hand)


def test_a_budget_in_minutes_is_not_beaten_by_epochs_of_the_base(search_file):
    training = load_search(search_file(budget={"minutes": 3})).base.training
    assert training.minutes == 3


def test_a_base_outside_the_space_is_no_first_trial(search_file):
    focal = load_recipe("tiny").loss.focal
    assert load_search(search_file()).start == {"loss.focal": focal}
    assert load_search(search_file(space={"loss.focal": {"low": focal + 1, "high": focal + 2}})).start is None
    assert load_search(search_file(space={"model.network": {"choices": ["unet", "deeplabv3plus"]}})).start is None


def test_a_key_of_the_space_is_given_whole_on_the_command_line(search_file):
    search = load_search(search_file(), ["trials=3", "space.model.dropout={low: 0.1, high: 0.2}", "set.loss.dice=2"])
    assert search.recipe.trials == 3
    assert list(search.recipe.space) == ["loss.focal", "model.dropout"]
    assert search.base.loss.dice == 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"space": {"loss.focal": {"low": 2.0, "high": 1.0}}}, "low is not below high"),
        ({"space": {"loss.focal": {"low": 1.0}}}, "give low and high, or choices"),
        ({"space": {"loss.focal": {"low": 0.0, "high": 1.0, "log": True}}}, "log needs a low above 0"),
        ({"space": {"loss.focal": {"low": 1.0, "high": 2.0, "choices": [1, 2]}}}, "give low and high, or choices"),
        ({"space": {"loss.focal": {"choices": [1]}}}, "at least 2"),
        ({"space": {"loss.fokal": {"low": 0.0, "high": 1.0}}}, "loss.fokal: unknown key"),
        ({"space": {"loss.focal": {"low": -1.0, "high": 1.0}}}, "loss.focal"),
        ({"space": {"model.network": {"choices": ["unet", "vnet"]}}}, "vnet"),
        ({"space": {"training.epochs": {"low": 1, "high": 5}}}, "training.epochs is not to be searched"),
        ({"space": {"data.image_size": {"choices": [64, 128]}}}, "data.image_size is not to be searched"),
        ({"space": {"seed": {"low": 1, "high": 5}}}, "seed is not to be searched"),
        ({"space": {"task": {"choices": ["segment", "enhance"]}}}, "task is not to be searched"),
        ({"space": {"data.window.slices": {"low": 4.0, "high": 8.0}}}, "data.window.slices=5.48"),
        ({"set": {"training.epochs": 3}}, "training.epochs follows from the search's name and budget"),
        ({"space": {"data.fold": {"low": 0, "high": 4}}}, "data.fold is not to be searched"),
        ({"space": {}}, "space"),
        ({"set": {"task": "enhance"}}, "only recipes that segment"),
        ({"budget": {}}, "either minutes or epochs"),
        ({"trial": 3}, "trial: unknown key"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(search_file, more, told):
    assert told in complaint(search_file(**more))


def test_the_base_is_no_first_trial_where_only_whole_numbers_are_drawn_and_it_has_none(search_file):
    space = {"model.dropout": {"low": 0, "high": 1}}
    with pytest.raises(RecipeError):  # 1 is no dropout
        load_search(search_file(space=space))
    space = {"loss.focal": {"low": 0, "high": 9}}
    assert load_search(search_file(space=space, set={"loss.focal": 2.5})).start is None
    assert load_search(search_file(space=space, set={"loss.focal": 2.0})).start == {"loss.focal": 2.0}


def test_a_number_that_yaml_takes_for_a_text_is_a_number(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "base: tiny\nbudget: {epochs: 1}\nset: {training.learning_rate: 0.001}\n"
        "space: {training.learning_rate: {choices: [1e-3, 1e-4]}, model.network: {choices: [unet, proposed]}}",
        encoding="utf-8",
    )
    search = load_search(file)
    assert search.recipe.space["training.learning_rate"].choices == (1e-3, 1e-4)
    assert search.recipe.space["model.network"].choices == ("unet", "proposed")
    assert search.start


def test_values_that_do_not_go_together_are_named(search_file):
    space = {"data.window.slices": {"choices": [3, 4]}, "data.window.halo": {"choices": [0, 1]}}
    search = load_search(search_file(space=space, set={"data.window": {"slices": 4, "halo": 0}}))
    with pytest.raises(RecipeError, match=r"data\.window\.slices=2, data\.window\.halo=1"):
        search.recipe_of({"data.window.slices": 2, "data.window.halo": 1})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"low": 1, "high": 8}, optuna.distributions.IntDistribution(1, 8)),
        ({"low": 1, "high": 8.5}, optuna.distributions.FloatDistribution(1, 8.5)),
        ({"low": 1e-4, "high": 1e-2, "log": True}, optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)),
        ({"choices": ["a", "b"]}, optuna.distributions.CategoricalDistribution(("a", "b"))),
        ({"choices": [True, False]}, optuna.distributions.CategoricalDistribution((True, False))),
    ],
)
def test_what_is_drawn_is_what_the_range_says(values, kind):
    ranged = RangeRecipe.model_validate(values)
    trial = optuna.create_study().ask()
    drawn = ranged.draw(trial, "key")
    assert ranged.holds(drawn)
    assert trial.distributions == {"key": kind}
