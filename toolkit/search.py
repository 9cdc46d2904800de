"""Searches: a recipe, the keys that may change in it and how far, typed and checked like a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from toolkit.comparison import BudgetRecipe, Name
from toolkit.config import Recipe, Section, check_recipe, flat_values, load_recipe
from toolkit.errors import RecipeError
from toolkit.recipe_changes import Changes, explain, find_shipped, merged, nested, override, read_mapping

if TYPE_CHECKING:
    from optuna import Trial

Choice = bool | int | float | str
# What a search gives itself, and what trials would be judged differently by.
GIVEN = ("name", "training.minutes", "training.epochs")
JUDGED_BY = ("data.split", "data.fold", "model.regions", "model.exclusive")


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
    def ends(self) -> tuple[Any, ...]:
        """Its outermost values, or all choices."""
        return self.choices if self.choices is not None else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is among those that may be drawn."""
        if self.choices is not None or self.low is None or self.high is None:
            return value in (self.choices or ())
        return isinstance(value, int | float) and self.low <= value <= self.high

    def draw(self, trial: Trial, key: str) -> Any:
        """A value of a trial."""
        if self.choices is not None or self.low is None or self.high is None:
            return trial.suggest_categorical(key, self.choices or ())
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
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
    """Read a search, apply `key=value` overrides, and check that every end of its space makes a recipe.

    Args:
        name: YAML file, or the name of a search that ships.
        overrides: such as `["trials=50", "space.loss.focal={low: 1, high: 8}"]`.

    Raises:
        RecipeError: not readable, an unknown key, or a value that is not allowed.
    """
    path = find_shipped(name, "search", "searches")
    values = read_mapping(path, "search")
    for text in overrides:
        override(values, text, dotted=("set", "space"))
    try:
        recipe = SearchRecipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: " + "; ".join(explain(e, "search") for e in error.errors())) from error
    for key in recipe.space:
        if key.startswith((*GIVEN, *JUDGED_BY)):
            raise RecipeError(f"{path}: space: {key} is not to be searched: trials would not be judged alike")
    base = load_recipe(recipe.base).model_dump(mode="json")
    for changes in (nested(recipe.changes), {"name": recipe.name, "training": recipe.budget.training}):
        base = merged(base, changes)
    search = Search(recipe, check_recipe(base, str(path)))
    if search.base.task != "segment":
        raise RecipeError(f"{path}: task: only recipes that segment can be searched")
    for key, values_of_key in recipe.space.items():
        for value in values_of_key.ends:
            search.recipe_of({key: value})
    return search
