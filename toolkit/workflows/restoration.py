"""What an enhancer that was pre-trained on its own can do, on patients it has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import Recipe
from toolkit.data.grid import model_grid
from toolkit.data.intensity import normalise
from toolkit.data.store import Store
from toolkit.evaluation.restoration import CleanCase, Trial, judge_restoration, restore_by_windows, summarise, trials
from toolkit.files import write_csv, write_json
from toolkit.inference.predictor import find_model
from toolkit.models.enhancer import resized_enhancer
from toolkit.models.model_file import load_model
from toolkit.pictures import panel, save_png, stack, to_grey
from toolkit.progress import track

PICTURE_PIXELS = 256


def judge_enhancer(model_path: Path, store: Store, part: str, out: Path) -> dict[str, Any]:
    """Judge an enhancer by what it makes of known damage (see `toolkit.evaluation.restoration`).

    Writes into `out`: metrics.json, restoration.csv (a row a slice, damage and method) and restoration.png.

    Args:
        model_path: run folder or file of an enhancer.
        store: the one it was trained on.
        part: "val" or "test".
        out: folder for the results.

    Returns:
        The content of metrics.json.

    Raises:
        ModelError: the model can't be read.
        OutputError: `out` can't be written.
    """
    path = find_model(model_path)
    restore, recipe = enhancer_method(path)
    cases = list(clean_cases(store, part, recipe))
    rows = judge_restoration(track(cases, "Evaluating", len(cases)), {"enhancer": restore}, recipe.seed)
    metrics = {
        "model": str(path),
        "split": recipe.data.split,
        "part": part,
        "n_patients": len({case.patient for case in cases}),
        "n_images": sum(len(case.images) for case in cases),
        "inside_the_head": summarise(rows, recipe.seed),
    }
    write_csv(out / "restoration.csv", rows)
    save_png(out / "restoration.png", restoration_picture(cases[0].images, {"enhanced": restore}, recipe.seed))
    write_json(out / "metrics.json", metrics)
    return metrics


def clean_cases(store: Store, part: str, recipe: Recipe) -> Iterator[CleanCase]:
    """The cases of a part, at the recipe's size."""
    for span in store.spans_of(recipe, part):
        grid = model_grid((span.n_slices, *span.case.shape[1:3]), span.case.spacing_mm, recipe.data)
        images, _ = store.read(span.case, range(span.start, span.stop))
        normalised = normalise(images, np.array(span.case.intensity_range))
        slices = grid.images(normalised.__getitem__, np.arange(grid.n_slices))
        yield CleanCase(span.case.patient_group, f"{span.case.case}:{span.start}", slices)


def enhancer_method(path: Path) -> tuple[Callable[[Trial], np.ndarray], Recipe]:
    """An enhancer as a method of restoration, and its recipe."""
    trained, info = load_model(path)
    size, window = info.recipe.data.image_size, info.recipe.data.window
    shape = (window.slices, size, size, len(info.modalities))
    model = resized_enhancer(trained, info.recipe.model.enhancer, shape)

    def restore(trial: Trial) -> np.ndarray:
        return restore_by_windows(
            lambda slices: np.asarray(model.predict_on_batch({"slices": slices})["enhanced"]),
            trial.images,
            window.slices,
            window.halo,
            window.shuffled,
        )

    return restore, info.recipe


def restoration_picture(clean: np.ndarray, methods: dict[str, Callable[[Trial], np.ndarray]], seed: int) -> np.ndarray:
    """A row for each kind of damage: clean | damaged | each method, of the middle slice and first modality.

    Returns:
        `(height, width, 3)` uint8.
    """
    rows = []
    for trial in trials(clean, seed):
        judged = np.flatnonzero(trial.judged)
        if not judged.size:  # too few slices for one to be missing between others
            continue
        shown = judged[len(judged) // 2]
        columns = [("clean", clean), (trial.damage, trial.images)]
        columns += [(name, method(trial)) for name, method in methods.items()]
        pictures = [(title, to_grey(images[shown, ..., 0], 0, 1)) for title, images in columns]
        rows.append(panel(pictures, height=PICTURE_PIXELS))
    return stack(rows)
