"""The docs say what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from toolkit.config import Recipe
from toolkit.shipped import shipped_folder

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object, str]]:
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from keys(type(default), f"{prefix}{name}.")
        else:
            yield prefix + name, default, field.description or ""


@pytest.mark.parametrize(("key", "default", "description"), list(keys(Recipe)))
def test_every_key_of_a_recipe_is_in_the_reference_with_its_default(key, default, description):
    page = (REPOSITORY / "docs/reference/recipe.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
    words = {None: "none", True: "true", False: "false"}
    shown = words[default] if isinstance(default, bool | None) else default
    shown = list(shown) if isinstance(shown, tuple) else shown
    if isinstance(shown, dict):
        shown = yaml.safe_dump({key: list(value) for key, value in shown.items()}, default_flow_style=True).strip()
    assert line.split("|")[2].strip() == f"`{shown}`"
    assert description
    assert description in line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_recipes_that_ship_are_named():
    page = (REPOSITORY / "docs/reference/recipe.md").read_text(encoding="utf-8")
    for recipe in shipped_folder("configs").glob("*.yaml"):
        assert f"`{recipe.stem}`" in page
