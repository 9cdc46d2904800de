"""`bts-train`: recipe and store in; a trained model, judged on its validation part, out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.config import load_recipe
from toolkit.errors import UsageError


def train(
    recipe_name: str, data: Path | None, out: Path | None, resume: bool, overrides: list[str]
) -> tuple[dict[str, Any], Path]:
    """Train (or go on training) and evaluate the best model on the validation part.

    Args:
        recipe_name: YAML file, or the name of a recipe that ships.
        data: store; None takes the recipe's.
        out: folder of the run; None takes `runs/NAME`.
        resume: go on with the run in that folder.
        overrides: `key=value` changes of the recipe.

    Returns:
        Metrics of the best model on the validation part (see `judge`, or `judge_enhancer` where the recipe's
        task is to enhance), and the folder of the run.

    Raises:
        ToolkitError: anything a user can mend; see `toolkit.errors`.
    """
    # The recipe first: its errors need none of the heavy imports.
    recipe = load_recipe(recipe_name, overrides)
    store = data or recipe.data.store
    if store is None:
        raise UsageError(f"{recipe_name}: names no data.store; pass --data STORE (made by bts-prepare)")
    run = out or Path("runs") / recipe.name

    from toolkit.data.store import Store
    from toolkit.inference.predictor import Predictor
    from toolkit.manifest import Manifest
    from toolkit.training.trainer import train as fit
    from toolkit.workflows.evaluate import judge

    history = fit(recipe, store, run, resume)
    if recipe.task == "enhance":
        from toolkit.workflows.restoration import judge_enhancer

        return judge_enhancer(run, Store(store), "val", run), run
    return judge(Predictor(run), Store(store), "val", run, Manifest(recipe.seed), history), run
