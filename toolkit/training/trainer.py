"""Training: recipe and store in, run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from toolkit.config import Recipe, differences, load_recipe
from toolkit.data.familiarity import training_familiarity
from toolkit.data.pipeline import WindowSet, training_batches, validation_batches
from toolkit.data.store import Store
from toolkit.errors import ModelError, StoreError, ToolkitError, UsageError
from toolkit.files import PARTIAL, atomic_path, write_csv, write_json
from toolkit.interruption import is_interruption
from toolkit.losses import DiceFocalLoss
from toolkit.manifest import Manifest
from toolkit.models.enhancer import build_enhancer
from toolkit.models.initial_weights import draw_initial_weights
from toolkit.models.model_file import ModelInfo, read_info, save_model
from toolkit.models.segmenter import build_segmenter
from toolkit.models.transfer import take_over
from toolkit.restoration import PeakSignalToNoise, RestorationLoss
from toolkit.training.budget import Budget, TrainingClock
from toolkit.training.callbacks import Bookkeeper, Interruptible, Progress, Watch, Watched, best_row
from toolkit.training.optimizer import build_optimizer
from toolkit.training.picture_dice import PictureDice
from toolkit.training.state import FILE as STATE
from toolkit.training.state import load_state
from toolkit.training.tensorboard import EnhancerLog, SegmenterLog

MOST_EPOCHS = 10**6  # of a run by the clock


def train(
    recipe: Recipe, store_path: Path, run: Path, resume: bool = False, watch: Watch | None = None
) -> list[dict[str, Any]]:
    """Train the model of a recipe.

    Writes into `run`: recipe.yaml (resolved), best.keras (highest validation Dice), last/ (to
    resume from), history.csv, tensorboard/ and manifest.json.

    Args:
        recipe: what to train.
        store_path: folder written by `bts-prepare`.
        run: folder of the run.
        resume: go on where a run in that folder stopped; a new run if there is none.
        watch: called after each epoch with the history and what is spent of the run, 0 to 1; what it raises ends
            the training.

    Returns:
        The history, a row an epoch.

    Raises:
        StoreError: the store can't be used.
        UsageError: `run` is in use, or was made by another recipe.
        ModelError: weights or the state to resume from can't be read.
        OutputError: `run` can't be written.
        ToolkitError: stopped with Ctrl-C; the finished epochs are kept.
    """
    manifest = Manifest(recipe.seed)
    store = Store(store_path)
    # Now, as damage met by the pipeline later would be a page of TensorFlow's.
    store.verify()
    _check_store(recipe, store)
    _open_run(run, recipe, resume)
    model, info = compile_model(recipe, store), _model_info(recipe, store)
    history, seconds = load_state(run / "last", model) if (run / "last" / STATE).is_file() else ([], 0.0)
    if history:
        _check_same_data(run, info)
        familiarity = read_info(run / "best.keras").familiarity
        write_csv(run / "history.csv", history)
    else:
        _take_over_weights(model, recipe, store)
        save_recipe(run, recipe)
        familiarity = training_familiarity(store, store.spans_of(recipe, "train")) if recipe.task == "segment" else None
    info = info.model_copy(update={"familiarity": familiarity})
    clock = TrainingClock(seconds)
    bookkeeper = Bookkeeper(
        run,
        history,
        clock,
        lambda trained, path: save_model(trained, path, info),
        recipe.training.early_stopping_epochs,
    )
    _fit(model, recipe, store, run, bookkeeper, watch)
    content = manifest.content(
        backend=keras.backend.backend(),
        seconds_training=round(clock.seconds, 1),
        store=store.index.checksums_sha256,
        parameters=model.count_params(),
    )
    write_json(run / "manifest.json", content)
    return history


def compile_model(recipe: Recipe, store: Store) -> keras.Model:
    """The recipe's model with loss, metric and optimiser, seeded."""
    keras.utils.set_random_seed(recipe.seed)
    half = recipe.training.mixed_precision
    keras.mixed_precision.set_global_policy(f"mixed_{half}" if half else "float32")
    model, loss, metric = _parts(recipe, len(store.index.modalities))
    model.compile(
        optimizer=build_optimizer(recipe, model, training_batches(store, recipe)[1]),
        loss=loss,
        weighted_metrics=metric,
        # XLA made the step 2-3 times slower on TensorFlow's CPU; JAX can't do without.
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    # Else its variables are made while the step is traced, and it is traced twice.
    model.optimizer.build(model.trainable_variables)
    return model


def _parts(recipe: Recipe, modalities: int) -> tuple[keras.Model, dict[str, Any], dict[str, Any]]:
    """Model of the recipe's task, with loss and metric of its output."""
    if recipe.task == "enhance":
        weights = recipe.pretraining
        size = weights.crop or recipe.data.image_size
        model = build_enhancer(recipe.model.enhancer, (recipe.data.window.slices, size, size, modalities))
        draw_initial_weights(model, recipe.seed, keep_encoder=False)
        restoration = RestorationLoss(weights.l1, weights.ssim, weights.logarithm)
        return model, {"enhanced": restoration}, {"enhanced": [PeakSignalToNoise()]}
    loss = recipe.loss
    dice_focal = DiceFocalLoss(loss.dice, loss.focal, loss.focal_gamma, loss.focal_alpha, loss.class_weights)
    return build_segmenter(recipe, modalities), {"probability": dice_focal}, {"probability": [PictureDice()]}


def _take_over_weights(model: keras.Model, recipe: Recipe, store: Store) -> None:
    """Start from the trained weights that the recipe names, and print what was taken over."""
    regions = list(recipe.model.regions)
    if recipe.model.start:
        print(take_over(model, recipe.model.start, store.index.modalities, regions).summary(), flush=True)
    for source in recipe.model.enhancer.sources:
        print(take_over(model, source, store.index.modalities, regions, "enhancer").summary(), flush=True)


def _check_store(recipe: Recipe, store: Store) -> None:
    """Refuse a store that has not what the recipe learns."""
    known = store.index.label_map
    for region, labels in recipe.model.regions.items():
        if unknown := set(labels) - set(known.values()):
            listed = ", ".join(f"{value} {name}" for name, value in known.items())
            raise StoreError(
                f"{store.path}: has no label {min(unknown)}, which region {region} needs (it has {listed})"
            )
    lacking = [record.case for record in store.index.cases if not all(record.present)]
    if lacking and not recipe.data.allow_missing:
        raise StoreError(
            f"{store.path}: {len(lacking)} cases lack modalities (e.g. {lacking[0]}); train with data.allow_missing "
            "and augmentation.modality_dropout, or prepare without --allow-missing"
        )


def _model_info(recipe: Recipe, store: Store) -> ModelInfo:
    training = store.spans_of(recipe, "train")
    return ModelInfo(
        recipe=recipe,
        modalities=tuple(store.index.modalities),
        label_map=store.index.label_map,
        data_kind=store.index.kind,
        data_checksums_sha256=store.index.checksums_sha256,
        training_patient_groups=tuple(sorted({span.case.patient_group for span in training})),
        synthetic_data=store.index.synthetic,
    )


def _check_same_data(run: Path, info: ModelInfo) -> None:
    """Refuse to go on with another store, or with the same scans split otherwise."""
    before = read_info(run / "best.keras")
    for name in ("data_checksums_sha256", "training_patient_groups"):
        if getattr(before, name) != getattr(info, name):
            raise UsageError(f"{run}: was trained on another store, or on another split of it; give --out a new folder")


def save_recipe(run: Path, recipe: Recipe) -> None:
    """Write the resolved recipe beside the results."""
    with atomic_path(run / "recipe.yaml") as partial:
        partial.write_text(recipe.to_yaml(), encoding="utf-8")


def _fit(
    model: keras.Model, recipe: Recipe, store: Store, run: Path, bookkeeper: Bookkeeper, watch: Watch | None
) -> None:
    training, done = recipe.training, len(bookkeeper.history)
    batches, steps = training_batches(store, recipe, first_epoch=done)
    budget = None
    if training.minutes:
        budget = Budget(training, bookkeeper.clock, round(training.warmup_epochs * steps))
    if _has_stopped(bookkeeper) or (budget.share >= 1 if budget else done >= training.epochs):
        return
    epochs = MOST_EPOCHS if budget else training.epochs
    log = EnhancerLog if recipe.task == "enhance" else SegmenterLog
    pictures = log(run / "tensorboard", WindowSet(store, "val", recipe, augment=False))
    watched = [Watched(watch, bookkeeper.history, epochs, budget)] if watch else []
    try:
        with Progress(steps, training.epochs, budget) as progress:
            model.fit(
                batches,
                epochs=epochs,
                initial_epoch=done,
                steps_per_epoch=steps,
                validation_data=validation_batches(store, recipe),
                callbacks=[*([budget] if budget else []), progress, pictures, bookkeeper, *watched, Interruptible()],
                shuffle=False,  # the pipeline has shuffled
                verbose=0,
            )
    except BaseException as error:
        if not is_interruption(error):
            raise
        finished = len(bookkeeper.history)
        raise ToolkitError(f"{run}: stopped after {finished} finished epochs; go on with --resume") from error


def _has_stopped(bookkeeper: Bookkeeper) -> bool:
    history, patience = bookkeeper.history, bookkeeper.patience
    return bool(patience and history and len(history) - best_row(history)["epoch"] >= patience)


def _open_run(run: Path, recipe: Recipe, resume: bool) -> None:
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return
    if not run.is_dir():
        raise UsageError(f"{run}: is a file; give --out another folder")
    if not resume:
        raise UsageError(f"{run}: holds a run already; pass --resume to go on with it, or another --out")
    if not (run / "recipe.yaml").is_file():
        raise ModelError(f"{run}: holds files but no run to resume; give --out another folder")
    before = load_recipe(run / "recipe.yaml")
    if before != recipe:
        changed = ", ".join(f"{key}: {old} then, {new} now" for key, (old, new) in differences(before, recipe).items())
        raise UsageError(f"{run}: was made by another recipe ({changed}); give --out a new folder")
    for leftover in run.rglob(f"{PARTIAL}*"):
        leftover.unlink()  # of a write that a kill broke off
