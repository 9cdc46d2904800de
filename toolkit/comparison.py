"""Comparisons: several models that learn from the same patients for equally long, typed and checked like a recipe.

A comparison is a YAML file. It starts from one recipe and says, for each model, what is changed in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from toolkit.config import NAME_PATTERN, Positive, Recipe, Section, check_recipe, differences, flat_values, load_recipe
from toolkit.errors import RecipeError
from toolkit.shipped import shipped_folder

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Label = Annotated[str, StringConstraints(pattern=r"^[^|\n]+$")]
Changes = dict[str, Any]
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


def find_comparison(name: str | Path) -> Path:
    """Path of a comparison given as a file or by the name of one that ships.

    Raises:
        RecipeError: neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = shipped_folder("configs") / "comparisons"
    for candidate in (folder / path.name, folder / f"{path.name}.yaml"):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
    raise RecipeError(f"{path}: no such comparison; give a YAML file or one of: {known}")


def load_comparison(name: str | Path, overrides: Iterable[str] = ()) -> Comparison:
    """Read a comparison, apply `key=value` overrides, and resolve and check the recipe of every run.

    Args:
        name: YAML file, or the name of a comparison that ships.
        overrides: such as `["budget.minutes=2", "set.data.image_size=64", "variants.cnn.set.loss.focal=0"]`.

    Raises:
        RecipeError: not readable, an unknown key or variant, a value that is not allowed, or models that
            could not be compared.
    """
    path = find_comparison(name)
    values = _read(path)
    for override in overrides:
        _override(values, override)
    try:
        recipe = ComparisonRecipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: " + "; ".join(_explain(e) for e in error.errors())) from error
    base = load_recipe(recipe.base).model_dump(mode="json")
    runs = {
        (variant, seed): _resolve(recipe, base, variant, seed, str(path))
        for seed in recipe.seeds
        for variant in recipe.variants
    }
    comparison = Comparison(recipe, runs)
    _check_comparable(comparison, path)
    return comparison


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-45
        raise RecipeError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a comparison is a mapping of keys to values")
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {override}: write it as key=value, e.g. budget.minutes=5")
    if "set" in parts[:-1]:
        # What follows is one key: that of a recipe, which is dotted itself.
        place = parts.index("set") + 1
        parts[place:] = [".".join(parts[place:])]
    for part in parts[:-1]:
        inner = values.get(part)
        values[part] = {} if inner is None else inner
        values = values[part]
        if not isinstance(values, dict):
            raise RecipeError(f"--set {override}: {part} is not a section")
    try:
        values[parts[-1]] = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise RecipeError(f"--set {override}: {' '.join(str(error).split())}") from error


def _resolve(recipe: ComparisonRecipe, base: dict[str, Any], name: str, seed: int, origin: str) -> Recipe:
    """The recipe of one run: base, changes for all, the zoo's, the variant's own, then what is common to all."""
    variant, origin = recipe.variants[name], f"{origin}: variant {name}"
    for_all, own = _nested(recipe.changes), _nested(variant.changes)
    taken = [key for key in GIVEN if key in flat_values(for_all) or key in flat_values(own)]
    if taken:
        raise RecipeError(f"{origin}: set: {taken[0]} follows from budget, seeds and the variant's name; change those")
    budget: Changes = {"minutes": recipe.budget.minutes or 0.0}
    if recipe.budget.epochs:
        budget["epochs"] = recipe.budget.epochs
    values = base
    for changes in (for_all, _zoo(variant.zoo, origin), own, {"name": name, "seed": seed, "training": budget}):
        values = _merged(values, changes, Recipe)
    return check_recipe(values, origin)


def _zoo(name: str | None, origin: str) -> Changes:
    if name is None:
        return {}
    from toolkit.models.zoo import ZOO

    if name not in ZOO:
        raise RecipeError(f"{origin}: zoo: no model {name}; one of: {', '.join(ZOO)}")
    return ZOO[name]


def _nested(changes: Changes) -> Changes:
    """`{"data.window.halo": 1, "data.fold": 0}` as `{"data": {"window": {"halo": 1}, "fold": 0}}`."""
    nested: Changes = {}
    for key, value in changes.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        nested = _merged(nested, value, Recipe)
    return nested


def _merged(values: Changes, changes: Mapping[str, Any], section: type[BaseModel]) -> Changes:
    """Values with changes laid over them; sections are merged, anything else (also a mapping) is replaced."""
    merged = dict(values)
    for key, value in changes.items():
        field = section.model_fields.get(key)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            merged[key] = _merged(merged.get(key) or {}, value, inner)
        else:
            merged[key] = value
    return merged


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


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]") or "comparison"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    message = error["msg"].removeprefix("Value error, ")
    shown = error["type"] not in ("value_error", "missing")
    return f"{key}: {message} (got {error['input']!r})" if shown else f"{key}: {message}"
