"""Searches: a recipe, the keys that may change in it and how far, typed and checked like a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from toolkit.comparison import GIVEN, JUDGED_BY, BudgetRecipe, Name
from toolkit.config import Recipe, Section, check_recipe, flat_values, load_recipe
from toolkit.errors import RecipeError
from toolkit.recipe_changes import explain, merged, nested
from toolkit.recipe_files import Changes, find_shipped, override, read_mapping

if TYPE_CHECKING:
    from optuna import Trial


def _number(value: Any) -> Any:
    """1e-3, which YAML takes for a text, as the number it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Choice = Annotated[bool | int | float | str, BeforeValidator(_number)]
# Trials are compared by the Dice of validation windows: whatever changes those, or luck alone, is not searched.
NOT_SEARCHED = (*GIVEN, *JUDGED_BY, "task", "data.image_size", "data.spacing_mm")
# Of a whole range, where besides at its ends a value is tried before any trial.
BETWEEN = 0.37


class RangeRecipe(Section):
    """Values that one key may take: from low to high, or some choices."""

    low: int | float | None = Field(None, description="smallest value; whole numbers where low and high are")
    high: int | float | None = Field(None, description="largest value")
    log: bool = Field(False, description="drawn evenly in its logarithm")
    choices: tuple[Choice, ...] | None = Field(None, min_length=2, description="these values instead")

    @model_validator(mode="after")
    def _one_of_two(self) -> RangeRecipe:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give low and high, or choices")
        if self.choices is not None and (self.low is not None or self.high is not None or self.log):
            raise ValueError("low, high and log do not go with choices")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low is not below high ({self.low:g} and {self.high:g})")
            if self.log and self.low <= 0:
                raise ValueError("log needs a low above 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def examples(self) -> tuple[Any, ...]:
        """All choices, or the outermost values and one between them."""
        if self.choices is not None or self.low is None or self.high is None:
            return self.choices or ()
        between = self.low + BETWEEN * (self.high - self.low)
        return self.low, round(between) if self.whole else between, self.high

    def holds(self, value: Any) -> bool:
        """Whether a value is among those that may be drawn."""
        if self.choices is not None or self.low is None or self.high is None:
            return value in (self.choices or ())
        known = isinstance(value, int | float) and self.low <= value <= self.high
        return known and (not self.whole or value == int(value))

    def draw(self, trial: Trial, key: str) -> Any:
        """A value of a trial."""
        if self.choices is not None or self.low is None or self.high is None:
            return trial.suggest_categorical(key, self.choices or ())
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


class SearchRecipe(Section):
    """A whole search."""

    name: Name = Field("search", description="of the recipe it finds")
    base: str = Field(description="recipe that all trials start from: YAML file, or the name of one that ships")
    changes: Changes = Field({}, alias="set", description="changes of the base for every trial, `key: value`")
    budget: BudgetRecipe
    trials: int = Field(20, ge=1, description="how many are tried in all; more go on with a finished search")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(1, description="of what is drawn; trials have the base's seed")
    space: dict[str, RangeRecipe] = Field(min_length=1, description="keys of the recipe that are searched")


@dataclass(frozen=True)
class Search:
    """A search and the recipe it starts from.

    Args:
        recipe: as written.
        base: resolved, with the search's changes and budget.
    """

    recipe: SearchRecipe
    base: Recipe

    def recipe_of(self, drawn: Mapping[str, Any]) -> Recipe:
        """The base with what was drawn for a trial.

        Raises:
            RecipeError: these values do not go together.
        """
        told = ", ".join(f"{key}={value}" for key, value in drawn.items())
        values = merged(self.base.model_dump(mode="json"), nested(dict(drawn)))
        return check_recipe(values, f"{self.recipe.name}: {told}")

    @property
    def start(self) -> dict[str, Any] | None:
        """The base's own values, if all of them are among those that are searched."""
        values = flat_values(self.base.model_dump(mode="json"))
        own = {key: values.get(key) for key in self.recipe.space}
        return own if all(self.recipe.space[key].holds(value) for key, value in own.items()) else None

    def to_yaml(self) -> str:
        """As written, every default spelled out."""
        return yaml.safe_dump(self.recipe.model_dump(mode="json", by_alias=True), sort_keys=False)


def load_search(name: str | Path, overrides: Iterable[str] = ()) -> Search:
    """Read a search, apply `key=value` overrides, and check that values of its space make recipes.

    Args:
        name: YAML file, or the name of a search that ships.
        overrides: such as `["trials=50", "space.loss.focal={low: 1, high: 8}"]`.

    Raises:
        RecipeError: not readable, an unknown key, or a value that is not allowed.
    """
    path = find_shipped(name, "search", "searches")
    values = read_mapping(path, "search")
    for text in overrides:
        override(values, text, example="budget.minutes=5", dotted=("set", "space"))
    try:
        recipe = SearchRecipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: " + "; ".join(explain(e, "search") for e in error.errors())) from error
    for key in recipe.space:
        if key.startswith(NOT_SEARCHED):
            raise RecipeError(f"{path}: space: {key} is not to be searched: trials could not be compared")
    for key in flat_values(nested(recipe.changes)):
        if key in GIVEN and key != "seed":
            raise RecipeError(f"{path}: set: {key} follows from the search's name and budget; change those")
    base = load_recipe(recipe.base).model_dump(mode="json")
    for changes in (nested(recipe.changes), {"name": recipe.name, "training": recipe.budget.training}):
        base = merged(base, changes)
    search = Search(recipe, check_recipe(base, str(path)))
    if search.base.task != "segment":
        raise RecipeError(f"{path}: task: only recipes that segment can be searched")
    for key, values_of_key in recipe.space.items():
        for value in values_of_key.examples:
            search.recipe_of({key: value})
    return search
