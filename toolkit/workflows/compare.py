"""`bts-compare`: several models on the same patients for equally long in; the paper's tables and figures out."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.comparison import LEAKING_SPLIT, Comparison, load_comparison
from toolkit.config import Recipe, differences, load_recipe
from toolkit.errors import ModelError, StoreError, ToolkitError, UsageError
from toolkit.files import atomic_path, write_csv, write_json
from toolkit.interruption import is_interruption, stop_if_interrupted

if TYPE_CHECKING:
    from toolkit.data.store import Store
    from toolkit.evaluation.comparison import RunResult
    from toolkit.evaluation.comparison_tables import Context
    from toolkit.manifest import Manifest

PART = "val"


@dataclass(frozen=True)
class Run:
    """One model with one seed.

    Args:
        variant: its name.
        seed: of the run.
        recipe: resolved.
        folder: of the run.
    """

    variant: str
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it is trained and judged: the report is what `judge` writes last."""
        return (self.folder / "report.html").is_file()

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"


def compare(
    name: str, data: Path, out: Path, only: Sequence[str] = (), overrides: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """Train every model of a comparison that is not there yet, and write the tables after each.

    Each run is an ordinary run in `out/runs/VARIANT-seedN`; one that was stopped is gone on with, one that is
    finished is not touched. Into `out` go table3.csv, table3.md, figure6.png, curves.csv, curves.png,
    comparison.json and manifest.json,
    table4.md where models stand beside the paper's, and at the end table2.png and models.png.

    Args:
        name: YAML file, or the name of a comparison that ships.
        data: store made by `bts-prepare`.
        out: folder of the comparison.
        only: variants to train now; all if empty. Tables show whatever is finished.
        overrides: `key=value` changes of the comparison.

    Returns:
        Rows of Table 3, and what is not finished.

    Raises:
        ToolkitError: anything a user can mend; see `toolkit.errors`. All that can be known before is told
            before the first model is trained.
    """
    # The comparison first: its errors need none of the heavy imports.
    comparison = load_comparison(name, overrides)
    unknown = [variant for variant in only if variant not in comparison.recipe.variants]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: no such variant; choose of {', '.join(comparison.recipe.variants)}")
    runs = [
        Run(variant, seed, recipe, out / "runs" / f"{variant}-seed{seed}")
        for (variant, seed), recipe in comparison.runs.items()
    ]
    for run in runs:
        _refuse_another_recipe(run)

    from toolkit.data.store import Store
    from toolkit.manifest import Manifest

    store, manifest = Store(data), Manifest()
    for run in runs:
        _refuse_other_patients(run, store)
    pending = [run for run in runs if not run.finished and (not only or run.variant in only)]
    _check_models(pending, store)
    for _ in _finish(pending, store):
        _write_tables(comparison, runs, store, out, manifest)
    rows = _write_tables(comparison, runs, store, out, manifest)
    _write_pictures(comparison, runs, store, out)
    return rows, [str(run) for run in runs if not run.finished]


def _refuse_another_recipe(run: Run) -> None:
    """Refuse a run folder made by another recipe, now and not hours later."""
    file = run.folder / "recipe.yaml"
    if not file.is_file():
        return
    changed = differences(load_recipe(file), run.recipe)
    if changed:
        told = ", ".join(f"{key}: {before} then, {now} now" for key, (before, now) in changed.items())
        raise UsageError(f"{run.folder}: was made by another recipe ({told}); give --out a new folder")


def _refuse_other_patients(run: Run, store: Store) -> None:
    """Refuse a store that has not the part to judge, or is not the one a run was begun on."""
    from toolkit.models.model_file import read_info

    store.spans_of(run.recipe, PART)
    groups = {span.case.patient_group for span in store.spans_of(run.recipe, "train")}
    file = run.folder / "best.keras"
    if not file.is_file():
        return
    info = read_info(file)
    if info.data_checksums_sha256 != store.index.checksums_sha256 or set(info.training_patient_groups) != groups:
        raise UsageError(
            f"{run.folder}: was trained on another store, or on another split of it; give --out a new folder"
        )


def _check_models(pending: Sequence[Run], store: Store) -> None:
    """Build each model once: what it needs, such as weights to start from, may be missing."""
    from keras.utils import clear_session

    from toolkit.inference.predictor import find_model
    from toolkit.training.trainer import compile_model

    if pending:
        store.verify()
    first_of: dict[str, Run] = {}
    for run in pending:
        first_of.setdefault(run.variant, run)
    for run in first_of.values():
        model = run.recipe.model
        try:
            for source in filter(None, (model.start, *model.enhancer.sources)):
                _refuse_taught_by_judged(find_model(source), run, store)
            compile_model(run.recipe, store)
        except ToolkitError as error:
            raise type(error)(f"variant {run.variant}: {error}") from error
        finally:
            clear_session()


def _refuse_taught_by_judged(start: Path, run: Run, store: Store) -> None:
    """Refuse to start from weights that were learned, also without labels, from patients of the judged part."""
    from toolkit.models.model_file import read_info

    info, data = read_info(start), run.recipe.data
    # Phantoms of two stores share names, not heads.
    same = info.data_checksums_sha256 == store.index.checksums_sha256
    if data.split == LEAKING_SPLIT or not (same or (info.data_kind == store.index.kind and not store.index.synthetic)):
        return
    judged = {span.case.patient_group for span in store.spans_of(run.recipe, PART)}
    known = judged & set(info.training_patient_groups)
    if known:
        raise StoreError(
            f"{start}: has learned from patient group {min(known)}, which is judged here ({len(known)} in all); "
            f"train it again with --set data.split={data.split} --set data.fold={data.fold}"
        )


def _finish(pending: Sequence[Run], store: Store) -> Iterator[Run]:
    """Train and judge one run after the other."""
    import keras

    from toolkit.inference.predictor import Predictor
    from toolkit.manifest import Manifest
    from toolkit.training.trainer import train as fit
    from toolkit.workflows.evaluate import judge

    began = time.monotonic()
    for done, run in enumerate(pending):
        stop_if_interrupted()
        spent = (time.monotonic() - began) / 60
        print(f"model {done + 1} of {len(pending)}: {run}{_time_left(pending, done, spent)}", flush=True)
        # As if it were alone: what the models before left behind would only grow.
        keras.utils.clear_session()
        try:
            history = fit(run.recipe, store.path, run.folder, resume=True)
        except ToolkitError as error:
            if error.__cause__ and is_interruption(error.__cause__):
                raise ToolkitError(
                    f"{run.folder}: stopped; the same command goes on with it ({len(pending) - done} models left)"
                ) from error
            raise
        judge(Predictor(run.folder), store, PART, run.folder, Manifest(run.seed), history)
        yield run


def _time_left(pending: Sequence[Run], done: int, minutes_spent: float) -> str:
    """What is left of the budgets; without them, as long as those done took."""
    budget = pending[done].recipe.training.minutes
    left = (len(pending) - done) * (max(budget, minutes_spent / done) if done else budget)
    return f"  ({left:.0f} min left in all)" if left else ""


def read_run(run: Run) -> RunResult:
    """What is known of a finished run.

    Raises:
        ModelError: its files are not what was written.
    """
    from toolkit.evaluation.comparison import RunResult
    from toolkit.evaluation.evaluator import read_per_image

    folder = run.folder
    try:
        metrics, manifest = (_json(folder / name) for name in ("metrics.json", "manifest.json"))
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            validation_dice = [float(row["val_dice"]) for row in csv.DictReader(file)]
        return RunResult(
            model=run.variant,
            seed=run.seed,
            pictures=read_per_image(folder / "per_image.csv"),
            minutes=manifest["seconds_training"] / 60,
            validation_dice=validation_dice,
            parameters=manifest["parameters"],
            split=metrics["split"],
            leaking=metrics["split_leaks_patients"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: its results are damaged ({error!r}); delete the folder and run again") from error


def _write_tables(
    comparison: Comparison, runs: Sequence[Run], store: Store, out: Path, manifest: Manifest
) -> list[dict[str, Any]]:
    """Write all that needs numbers only, of the runs that are finished."""
    from toolkit.evaluation.comparison import table_rows
    from toolkit.evaluation.comparison_chart import figure6
    from toolkit.evaluation.comparison_tables import final_rows, table3, table4
    from toolkit.evaluation.learning_curves import curve_rows, draw_curves
    from toolkit.evaluation.paper import TABLE3
    from toolkit.pictures import save_png

    recipe = comparison.recipe
    finished = _in_table_order(comparison, runs)
    if not finished:
        return []
    content = manifest.content(seed=list(recipe.seeds), store=store.index.checksums_sha256)
    results = [read_run(run) for run in finished]
    rows = table_rows(results, recipe.reference, recipe.seeds)
    context = _context(comparison, runs, results, store, content["command"])
    write_csv(out / "table3.csv", rows)
    _write_text(out / "table3.md", table3(rows, context))
    if context.paper:
        _write_text(out / "table4.md", table4(rows, context))
    quoted = {variant: TABLE3[name] for variant, name in context.paper.items()}
    save_png(out / "figure6.png", figure6(final_rows(rows, recipe.seeds), context.labels, quoted, context.synthetic))
    curves = list(curve_rows(results))
    write_csv(out / "curves.csv", curves)
    save_png(out / "curves.png", draw_curves(curves, context.labels, context.synthetic))
    numbers = {
        "comparison": recipe.model_dump(mode="json", by_alias=True),
        "changes_from_reference": {variant: comparison.changes(variant) for variant in recipe.variants},
        "rows": rows,
        "unfinished": context.unfinished,
        "part": PART,
        "empty_mask_rule": context.empty_mask_rule,
        "empty_mask_accuracy": context.empty_accuracy,
    }
    write_json(out / "comparison.json", numbers | {key: content[key] for key in ("command", "version", "packages")})
    write_json(out / "manifest.json", content)
    return rows


def _context(
    comparison: Comparison, runs: Sequence[Run], results: Sequence[RunResult], store: Store, command: str
) -> Context:
    from toolkit.evaluation.comparison_tables import Context

    recipe = comparison.recipe
    pictures = next((result.pictures for result in results if not result.leaking), results[0].pictures)
    background = [(row["fp"] + row["tn"]) / (row["tp"] + row["fp"] + row["fn"] + row["tn"]) for row in pictures]
    return Context(
        title=recipe.name,
        reference=recipe.reference,
        labels={variant: comparison.label(variant) for variant in recipe.variants},
        paper={name: variant.paper for name, variant in recipe.variants.items() if variant.paper},
        seeds=recipe.seeds,
        budget=str(recipe.budget),
        data=store.index.kind,
        empty_mask_rule=_json(_in_table_order(comparison, runs)[0].folder / "metrics.json")["empty_mask_rule"],
        empty_accuracy=sum(background) / len(background),
        unfinished=[str(run) for run in runs if not run.finished],
        command=command,
        synthetic=store.index.synthetic,
    )


def _write_pictures(comparison: Comparison, runs: Sequence[Run], store: Store, out: Path) -> None:
    """Draw what needs the models themselves: those of the first seed that are finished and do not leak."""
    from toolkit.workflows.compare_pictures import draw_comparison

    seed, reference = comparison.recipe.seeds[0], comparison.recipe.reference
    folders = {
        run.variant: run.folder
        for run in _in_table_order(comparison, runs)
        if run.seed == seed and not comparison.leaks(run.variant)
    }
    if reference not in folders:
        return
    judged = store.spans_of(comparison.runs[reference, seed], PART)
    labelled = {comparison.label(variant): folder for variant, folder in folders.items()}
    draw_comparison(labelled, folders[reference], store, judged, out)


def _in_table_order(comparison: Comparison, runs: Sequence[Run]) -> list[Run]:
    """The finished runs, model by model."""
    order = list(comparison.recipe.variants)
    return sorted((run for run in runs if run.finished), key=lambda run: order.index(run.variant))


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
