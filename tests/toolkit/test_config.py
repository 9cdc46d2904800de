"""A recipe is checked before anything starts, and every complaint names the key."""

from pathlib import Path

import pytest
import yaml

from toolkit.config import Recipe, differences, load_recipe
from toolkit.errors import RecipeError
from toolkit.recipe_files import find_shipped
from toolkit.shipped import shipped_folder

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def recipe_file(tmp_path):
    def write(text, name="mine.yaml"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def complaint(name, overrides=None):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_some_recipes_ship():
    assert {"tiny", "demo", "figshare"} <= {file.stem for file in SHIPPED}
    assert shipped_folder("configs") == SHIPPED[0].parent


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_recipe_loads_by_name_and_is_named_as_its_file(file):
    assert load_recipe(file.stem) == load_recipe(file)
    assert load_recipe(file.stem).name == file.stem


def test_an_empty_recipe_is_all_defaults(recipe_file):
    recipe = load_recipe(recipe_file(""))
    assert recipe == Recipe()
    assert (recipe.data.split, recipe.data.image_size, recipe.data.window.slices) == ("by_patient", 128, 4)


def test_the_resolved_recipe_spells_out_every_default_and_loads_to_the_same(recipe_file):
    recipe = load_recipe("tiny", ["training.epochs=7", "loss.class_weights=[2]"])
    assert yaml.safe_load(recipe.to_yaml())["training"]["gradient_clip_norm"] == 1.0
    assert load_recipe(recipe_file(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("epochs: 3", "epochs", ("training", "data", "model")),
        ("training: {epoch: 3}", "training.epoch", ("epochs", "learning_rate")),
        ("data: {window: {slice: 4}}", "data.window.slice", ("slices", "halo")),
        ("model: {enhancer: {depth: 4}}", "model.enhancer.depth", ("kind", "filters")),
    ],
)
def test_an_unknown_key_is_named_with_the_keys_allowed_beside_it(recipe_file, text, key, allowed):
    file = recipe_file(text)
    message = complaint(file)
    assert message.startswith(f"{file}: {key}: unknown key; allowed here: ")
    listed = message.split("allowed here: ")[1].split(", ")
    assert set(allowed) <= set(listed)
    assert key.split(".")[-1] not in listed


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("data.image_size=100", "data.image_size", "100"),
        ("data.image_size=wide", "data.image_size", "'wide'"),
        ("data.split=by_slice", "data.split", "'by_slice'"),
        ("model.encoder=resnet", "model.encoder", "'resnet'"),
        ("training.learning_rate=0", "training.learning_rate", "0"),
        ("training.learning_rate=.inf", "training.learning_rate", "inf"),
        ("training.weight_decay=.nan", "training.weight_decay", "nan"),
        ("training.epochs=2.5", "training.epochs", "2.5"),
        ("loss.focal_alpha=1.5", "loss.focal_alpha", "1.5"),
        ("name=../run", "name", "'../run'"),
        ("seed=-1", "seed", "-1"),
        ("data=", "data", "None"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_key(override, key, value):
    message = complaint("tiny", [override])
    assert f": {key}: " in message
    assert f"(got {value})" in message


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["data.image_size=32", "pretraining.crop=64"], "pretraining.crop is larger than data.image_size (32)"),
        (["data.window.halo=2"], "2 * halo must be below slices, got halo 2 and slices 4"),
        (["loss.dice=0", "loss.focal=0"], "dice and focal can't both be 0"),
        (["loss.class_weights=[1, 2]"], "loss.class_weights needs 1 values, got 2"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides, named):
    assert named in complaint("tiny", overrides)


def test_all_faults_are_told_at_once():
    message = complaint("tiny", ["training.epochs=0", "data.fold=9"])
    assert "training.epochs" in message
    assert "data.fold" in message


def test_overrides_reach_every_depth_and_are_read_as_yaml():
    overrides = ["seed=7", "training.epochs=3", "data.window.slices=6", "model.attention=false", "name=other"]
    recipe = load_recipe("tiny", [*overrides, "training.learning_rate=1e-4", "data.store=stores/a=b"])
    assert (recipe.seed, recipe.training.epochs, recipe.data.window.slices) == (7, 3, 6)
    assert recipe.model.attention is False
    assert recipe.training.learning_rate == 1e-4
    assert recipe.data.store == Path("stores/a=b")
    assert recipe.data.window.halo == load_recipe("tiny").data.window.halo


def test_the_last_of_two_overrides_of_one_key_wins():
    assert load_recipe("tiny", ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    "override", ["training.epochs", "=3", "", "seed.deep=3", "data.window.slices.x=3", "seed=[1", "name=2024-13-45"]
)
def test_a_malformed_override_is_quoted(override):
    assert f"--set {override}: " in complaint("tiny", [override])


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "3"])
def test_a_recipe_that_is_no_mapping_is_refused(recipe_file, text):
    assert "a recipe is a mapping" in complaint(recipe_file(text))


@pytest.mark.parametrize("content", [b"a: [1, 2", b"name: \xff\xfe", b"a: b: c", b"name: 2024-13-45"])
def test_a_file_that_is_no_yaml_is_named(tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    assert complaint(file).startswith(f"{file}: not a readable YAML file")


def test_a_missing_recipe_lists_those_that_ship():
    message = complaint("no-such-recipe")
    assert message.startswith("no-such-recipe: ")
    assert message.endswith(", ".join(file.stem for file in SHIPPED))


def test_a_file_at_hand_goes_before_a_recipe_that_ships(recipe_file, tmp_path, monkeypatch):
    recipe_file("seed: 99", "tiny.yaml")
    assert load_recipe("tiny.yaml").seed != 99
    monkeypatch.chdir(tmp_path)
    assert load_recipe("tiny.yaml").seed == 99
    assert find_shipped("tiny", "recipe") == shipped_folder("configs") / "tiny.yaml"


def test_a_recipe_can_not_be_changed_once_checked():
    with pytest.raises(ValueError, match="frozen"):
        load_recipe("tiny").seed = 3


def test_differences_are_told_with_both_values():
    assert differences(load_recipe("tiny"), load_recipe("tiny", ["seed=2"])) == {"seed": (1, 2)}
