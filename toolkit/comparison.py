"""Comparisons: several models that learn from the same patients for equally long, typed and checked like a recipe.

A comparison is a YAML file. It starts from one recipe and says, for each model, what is changed in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from toolkit.config import NAME_PATTERN, Positive, Recipe, Section, check_recipe, differences, flat_values, load_recipe
from toolkit.errors import RecipeError
from toolkit.recipe_changes import explain, merged, nested
from toolkit.recipe_files import Changes, find_shipped, override, read_mapping

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Label = Annotated[str, StringConstraints(pattern=r"^[^|\n]+$")]
LEAKING_SPLIT = "by_slice_leaking"
# Keys of a recipe that the comparison itself gives, and those that decide what the models are judged by.
GIVEN = ("name", "seed", "training.minutes", "training.epochs")
JUDGED_BY = ("data.split", "data.fold", "model.regions", "model.exclusive")


class BudgetRecipe(Section):
    """How long every model learns: one of the two."""

    minutes: Positive | None = Field(None, description="`training.minutes` of every run")
    epochs: int | None = Field(None, ge=1, description="`training.epochs` of every run")

    @model_validator(mode="after")
    def _one_of_two(self) -> BudgetRecipe:
        if (self.minutes is None) == (self.epochs is None):
            raise ValueError("give either minutes or epochs")
        return self

    @property
    def training(self) -> Changes:
        """The budget as changes of a recipe's `training`."""
        return {"minutes": self.minutes or 0.0} | ({"epochs": self.epochs} if self.epochs else {})

    def __str__(self) -> str:
        return f"{self.minutes:g} minutes" if self.minutes else f"{self.epochs} epochs"


class VariantRecipe(Section):
    """One model of a comparison."""

    zoo: str | None = Field(None, description="name of a model in the zoo whose changes come first")
    changes: Changes = Field({}, alias="set", description="changes of the base recipe, `key: value`")
    label: Label | None = Field(None, description="what tables and figures call it; default: its name")
    paper: Literal["unet", "attention_unet", "res_attention_unet", "proposed"] | None = Field(
        None, description="row of the paper's Table 3 that stands beside it"
    )


class ComparisonRecipe(Section):
    """A whole comparison."""

    name: Name = Field("comparison", description="title of the tables")
    base: str = Field(description="recipe that all models start from: YAML file, or the name of one that ships")
    changes: Changes = Field({}, alias="set", description="changes of the base for every model, `key: value`")
    budget: BudgetRecipe
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        (1,), min_length=1, description="every model is trained once with each"
    )
    reference: str = Field(description="name of the model the others are tested against")
    variants: dict[Name, VariantRecipe] = Field(min_length=1, description="models by name, in the tables' order")

    @model_validator(mode="after")
    def _named_once(self) -> ComparisonRecipe:
        if self.reference not in self.variants:
            raise ValueError(f"reference {self.reference} is none of the variants {', '.join(self.variants)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is named twice")
        return self


@dataclass(frozen=True)
class Comparison:
    """A comparison with the resolved recipe of every run.

    Args:
        recipe: as written.
        runs: recipe of each variant and seed, in the order in which they are trained: seed by seed,
            so that a stop in the middle leaves every model with the same seeds, but for one.
    """

    recipe: ComparisonRecipe
    runs: dict[tuple[str, int], Recipe]

    def leaks(self, variant: str) -> bool:
        """Whether a variant is split by picture, so that it is judged on patients it has learned from."""
        return self.runs[variant, self.recipe.seeds[0]].data.split == LEAKING_SPLIT

    def label(self, variant: str) -> str:
        """What tables and figures call a variant; one that leaks patients is called so, too."""
        label = self.recipe.variants[variant].label or variant
        return f"{label} (LEAKS PATIENTS)" if self.leaks(variant) else label

    def changes(self, variant: str) -> dict[str, tuple[Any, Any]]:
        """In which keys a variant's recipe differs from the reference's: key to (reference's value, its own)."""
        seed = self.recipe.seeds[0]
        changed = differences(self.runs[self.recipe.reference, seed], self.runs[variant, seed])
        return {key: values for key, values in changed.items() if key != "name"}


def load_comparison(name: str | Path, overrides: Iterable[str] = ()) -> Comparison:
    """Read a comparison, apply `key=value` overrides, and resolve and check the recipe of every run.

    Args:
        name: YAML file, or the name of a comparison that ships.
        overrides: such as `["budget.minutes=2", "set.data.image_size=64", "variants.cnn.set.loss.focal=0"]`.

    Raises:
        RecipeError: not readable, an unknown key or variant, a value that is not allowed, or models that
            could not be compared.
    """
    path = find_shipped(name, "comparison", "comparisons")
    values = read_mapping(path, "comparison")
    for text in overrides:
        override(values, text, example="budget.minutes=5", dotted=("set",))
    try:
        recipe = ComparisonRecipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: " + "; ".join(explain(e, "comparison") for e in error.errors())) from error
    base = load_recipe(recipe.base).model_dump(mode="json")
    runs = {
        (variant, seed): _resolve(recipe, base, variant, seed, str(path))
        for seed in recipe.seeds
        for variant in recipe.variants
    }
    comparison = Comparison(recipe, runs)
    _check_comparable(comparison, path)
    return comparison


def _resolve(recipe: ComparisonRecipe, base: dict[str, Any], name: str, seed: int, origin: str) -> Recipe:
    """The recipe of one run: base, changes for all, the zoo's, the variant's own, then what is common to all."""
    variant, origin = recipe.variants[name], f"{origin}: variant {name}"
    for_all, own = nested(recipe.changes), nested(variant.changes)
    taken = [key for key in GIVEN if key in flat_values(for_all) or key in flat_values(own)]
    if taken:
        raise RecipeError(f"{origin}: set: {taken[0]} follows from budget, seeds and the variant's name; change those")
    values, given = base, {"name": name, "seed": seed, "training": recipe.budget.training}
    for changes in (for_all, _zoo(variant.zoo, origin), own, given):
        values = merged(values, changes)
    return check_recipe(values, origin)


def _zoo(name: str | None, origin: str) -> Changes:
    if name is None:
        return {}
    from toolkit.models.zoo import ZOO

    if name not in ZOO:
        raise RecipeError(f"{origin}: zoo: no model {name}; one of: {', '.join(ZOO)}")
    return ZOO[name]


def _check_comparable(comparison: Comparison, path: Path) -> None:
    """All variants segment the same pictures of the same patients, or say that they leak."""
    recipe = comparison.recipe
    if comparison.leaks(recipe.reference):
        raise RecipeError(f"{path}: the reference {recipe.reference} leaks patients; take one that is split by patient")
    for variant in recipe.variants:
        if comparison.runs[variant, recipe.seeds[0]].task != "segment":
            raise RecipeError(f"{path}: variant {variant}: task: only recipes that segment can be compared")
        changed = [key for key in comparison.changes(variant) if key.startswith(JUDGED_BY)]
        if comparison.leaks(variant):
            changed = [key for key in changed if not key.startswith("data.")]
        if changed:
            raise RecipeError(
                f"{path}: variant {variant}: {changed[0]} differs from the reference's, so it would be judged by "
                "something else; change it for all"
            )
