"""A comparison changes what it says, nothing else, and is refused where its models could not be compared."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from toolkit.comparison import (
    BudgetRecipe,
    ComparisonRecipe,
    VariantRecipe,
    load_comparison,
)
from toolkit.config import load_recipe
from toolkit.errors import RecipeError
from toolkit.recipe_files import find_shipped

SHIPPED = sorted((Path(__file__).parents[2] / "configs/comparisons").glob("*.yaml"))
SMALL = {
    "base": "tiny",
    "budget": {"epochs": 1},
    "reference": "proposed",
    "variants": {"proposed": {}, "cnn": {"set": {"model.enhancer.kind": "cnn"}}},
}


LONE_SLICES = {"data.split", "data.window.slices", "data.window.halo", "data.batch_windows"}


@pytest.fixture
def comparison_file(tmp_path):
    def write(**more):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({**SMALL, **more}, sort_keys=False), encoding="utf-8")
        return file

    return write


def complaint(file, overrides=()):
    with pytest.raises(RecipeError) as caught:
        load_comparison(file, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_comparison_loads_by_name_and_resolves_every_run(file):
    comparison = load_comparison(file.stem)
    assert comparison.recipe.name == file.stem
    assert find_shipped(file.stem, "comparison", "comparisons") == file
    assert len(comparison.runs) == len(comparison.recipe.variants) * len(comparison.recipe.seeds)


def test_a_run_is_the_base_with_the_changes_and_the_budget(comparison_file):
    file = comparison_file(set={"data.image_size": 64}, seeds=[1, 2], budget={"minutes": 5})
    runs = load_comparison(file).runs
    assert list(runs) == [("proposed", 1), ("cnn", 1), ("proposed", 2), ("cnn", 2)]
    by_hand = ["data.image_size=64", "training.minutes=5", "model.enhancer.kind=cnn", "seed=2", "name=cnn"]
    assert runs["cnn", 2] == load_recipe("tiny", by_hand)


def test_a_budget_in_epochs_is_not_beaten_by_minutes_of_the_base(comparison_file, tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("training: {minutes: 30, epochs: 40}", encoding="utf-8")
    training = load_comparison(comparison_file(base=str(base))).runs["cnn", 1].training
    assert (training.minutes, training.epochs) == (0, 1)


def test_the_zoo_comes_before_the_variants_own_changes(comparison_file, monkeypatch):
    zoo = {"plain": {"model": {"enhancer": {"kind": "none"}, "network": "unet", "dropout": 0.5}}}
    monkeypatch.setitem(sys.modules, "toolkit.models.zoo", SimpleNamespace(ZOO=zoo))
    variants = {"proposed": {}, "unet": {"zoo": "plain", "set": {"model.dropout": 0.1}}}
    comparison = load_comparison(comparison_file(variants=variants))
    assert comparison.changes("unet") == {
        "model.enhancer.kind": ("convlstm", "none"),
        "model.network": ("proposed", "unet"),
        "model.dropout": (0.0, 0.1),
    }
    assert "zoo: no model plane; one of: plain" in complaint(
        comparison_file(variants={"proposed": {}, "unet": {"zoo": "plane"}})
    )


def test_regions_are_replaced_not_mixed(comparison_file):
    run = load_comparison(comparison_file(set={"model.regions": {"core": [1]}})).runs["cnn", 1]
    assert run.model.regions == {"core": (1,)}


def test_overrides_reach_the_comparison_and_the_dotted_keys_in_it(comparison_file):
    overrides = ["budget.epochs=3", "seeds=[4]", "set.data.image_size=96", "variants.cnn.set.model.enhancer.kind=lstm"]
    run = load_comparison(comparison_file(), overrides).runs["cnn", 4]
    assert (run.training.epochs, run.data.image_size, run.model.enhancer.kind) == (3, 96, "lstm")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"budget": {}}, "budget: give either minutes or epochs"),
        ({"budget": {"minutes": 5, "epochs": 5}}, "budget: give either minutes or epochs"),
        ({"reference": "none"}, "reference none is none of the variants proposed, cnn"),
        ({"seeds": [1, 1]}, "a seed is named twice"),
        ({"sedes": [1]}, "sedes: unknown key"),
        ({"base": "no-such"}, "no-such: no such recipe"),
        ({"variants": {"../up": {}}}, "variants.../up: "),
        ({"variants": {"proposed": {"label": "a|b"}}}, "variants.proposed.label: "),
        ({"set": {"model.depth": 3}}, "variant proposed: model.depth: unknown key; allowed here"),
        ({"set": {"training": {"epochs": 9}}}, "training.epochs follows from budget"),
        ({"variants": {"proposed": {"set": {"seed": 9}}}}, "seed follows from budget"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_key(comparison_file, changes, named):
    assert named in complaint(comparison_file(**changes))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data.split": "folds"}, "variant cnn: data.split differs from the reference's"),
        ({"model.regions": {"core": [1]}}, "variant cnn: model.regions"),
        ({"task": "enhance"}, "variant cnn: task: only recipes that segment"),
    ],
)
def test_models_judged_by_something_else_are_refused(comparison_file, change, named):
    assert named in complaint(comparison_file(variants={"proposed": {}, "cnn": {"set": change}}))


def test_a_split_by_picture_is_allowed_labelled_and_never_the_reference(comparison_file):
    variants = {"proposed": {"label": "ours"}, "loose": {"label": "ours", "set": {"data.split": "by_slice_leaking"}}}
    comparison = load_comparison(comparison_file(variants=variants))
    assert [comparison.label(name) for name in variants] == ["ours", "ours (LEAKS PATIENTS)"]
    assert "the reference loose leaks patients" in complaint(comparison_file(variants=variants, reference="loose"))


@pytest.mark.parametrize("override", ["seeds", "=3", "a..b=1", "budget.epochs.deep=1", "seeds=[1"])
def test_a_malformed_override_is_quoted(comparison_file, override):
    assert f"--set {override}: " in complaint(comparison_file(), [override])


def test_a_missing_comparison_lists_those_that_ship():
    assert complaint("no-such").endswith(", ".join(file.stem for file in SHIPPED))


def test_an_ablation_changes_one_thing_at_a_time():
    comparison = load_comparison("ablation")
    changed = {name: list(comparison.changes(name)) for name in comparison.recipe.variants}
    assert changed.pop("proposed") == []
    assert all(len(keys) == 1 for keys in changed.values()), changed


def test_the_models_of_the_papers_table_learn_with_the_same_settings():
    comparison = load_comparison("compare")
    for variant in ("unet", "attention_unet", "res_attention_unet", "proposed_leaking"):
        changed = {key for key in comparison.changes(variant) if not key.startswith("model.")}
        assert changed == (LONE_SLICES if comparison.leaks(variant) else set())
        data = comparison.runs[variant, 1].data
        assert data.batch_windows * data.window.slices == 16
    table1 = comparison.runs["unet_table1", 1]
    assert (table1.training.optimizer, table1.training.learning_rate, table1.loss.focal) == ("adamw", 1e-4, 0.0)
    assert table1.data.batch_windows * table1.data.window.slices == 8
    assert (table1.model.dropout, table1.model.filters) == (0.5, 24)


@pytest.mark.parametrize(
    ("section", "prefix"),
    [(ComparisonRecipe, ""), (BudgetRecipe, "budget."), (VariantRecipe, "variants.NAME.")],
)
def test_every_key_is_in_the_reference(section, prefix):
    page = (Path(__file__).parents[2] / "docs/reference/comparison.md").read_text(encoding="utf-8")
    for name, field in section.model_fields.items():
        if field.description:
            assert f"| `{prefix}{field.alias or name}` | {field.description} |" in page
