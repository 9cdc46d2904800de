"""`bts-tune`: a search and a store in; the recipe that did best on validation out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ModelError, RecipeError, StoreError, ToolkitError, UsageError
from toolkit.files import atomic_path, write_csv, write_json
from toolkit.interruption import is_interruption, stop_if_interrupted
from toolkit.recipe_files import read_mapping
from toolkit.search import Search, load_search

if TYPE_CHECKING:
    from optuna import Study, Trial

    from toolkit.data.store import Store
    from toolkit.training.callbacks import Watch

# A trial is compared with others, and may be given up, at each tenth of its budget.
STEPS = 10
FIRST_TRIALS, FIRST_STEPS = 5, 3  # so many are never given up, and none before
# Attributes of a trial: where its run lies, also when it is gone on with as another trial; how often it was without an
# epoch; and why it can't be trained.
FOLDER, FRUITLESS, ERROR = "folder", "fruitless", "error"
MOST_FRUITLESS = 3
# What ends a trial, not the search: its values alone are at fault.
OF_ITS_VALUES = (RecipeError, ModelError, StoreError, MemoryError)


@dataclass(frozen=True)
class Ended:
    """A trial that has ended.

    Args:
        state: `complete`, `given up`, or why it could not be trained.
        dice: best Dice of validation windows; None where no epoch was finished.
        spent: tenths of its budget.
        values: what was drawn.
        folder: of its run, in `trials/`.
    """

    state: str
    dice: float | None
    spent: int
    values: Mapping[str, Any]
    folder: str


def tune(name: str, data: Path, out: Path, overrides: tuple[str, ...] = ()) -> tuple[Ended, int]:
    """Try recipes of a search until it has had all its trials.

    The first trial is the base itself, if its values may be drawn; then Optuna's TPE sampler (Bergstra et al. 2011)
    draws. Once five trials are complete, one whose best Dice so far is below their median at the same tenth of the
    budget is given up. Into `out` go search.yaml, study.db (Optuna's, SQLite), trials/NNN (an ordinary run each; of
    all but the best without weights), trials.csv, tuning.png, best.yaml and manifest.json.

    Args:
        name: YAML file, or the name of a search that ships.
        data: store made by `bts-prepare`.
        out: folder of the search; one that was stopped, or is to have more trials, is gone on with.
        overrides: `key=value` changes of the search.

    Returns:
        The best trial, and how many have ended.

    Raises:
        ToolkitError: anything a user can mend; see `toolkit.errors`.
    """
    search = load_search(name, overrides)
    _refuse_another_search(out, search)
    try:
        import optuna
    except ImportError as error:
        raise UsageError("bts-tune needs Optuna: pip install 'brain-tumour-segmentation[tune]'") from error

    from toolkit.data.store import Store
    from toolkit.manifest import Manifest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    store, manifest = Store(data), Manifest(search.recipe.seed)
    store.verify()
    store.spans_of(search.base, "val")
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        study = _open_study(search, store, out)
        with atomic_path(out / "search.yaml") as partial:
            partial.write_text(search.to_yaml(), encoding="utf-8")
        while True:
            # Before the first trial, too: a kill may have come between the end of the last one and its tables.
            if ended := _ended(study):
                _write(search, ended, store, out)
                write_json(out / "manifest.json", manifest.content(store=store.index.checksums_sha256))
            if len(ended) >= search.recipe.trials:
                break
            stop_if_interrupted()
            _run_trial(search, study, store, out)
    best = _best(ended)
    if best is None:
        raise ToolkitError(f"{out / 'trials.csv'}: no trial could be trained; see why in its column state")
    return best, len(ended)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuse a second search in the same folder while one is at work; a kill frees it. Windows has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{out}: another bts-tune works there; wait for it, or give --out a new folder") from error
        yield


def _refuse_another_search(out: Path, search: Search) -> None:
    """Refuse a folder of another search; more trials of the same are fine."""
    file = out / "search.yaml"
    if not file.is_file():
        return
    before, now = read_mapping(file, "search"), search.recipe.model_dump(mode="json", by_alias=True)
    changed = [key for key in now if key != "trials" and before.get(key) != now[key]]
    if changed:
        raise UsageError(f"{out}: was made by another search ({', '.join(changed)} differ); give --out a new folder")


def _open_study(search: Search, store: Store, out: Path) -> Study:
    """The study, new or as it was left; a trial that was broken off is next.

    Raises:
        UsageError: it was made on another store, or from a base that has changed since.
        ToolkitError: it can't be read.
    """
    import optuna

    storage = f"sqlite:///{(out / 'study.db').resolve()}"
    try:
        study = optuna.create_study(
            storage=storage, study_name=search.recipe.name, direction="maximize", load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy's and SQLite's
        raise ToolkitError(
            f"{out / 'study.db'}: not a readable study ({' '.join(str(error).split())[:200]})"
        ) from error
    facts = {"base": search.base.to_yaml(), "store": store.index.checksums_sha256}
    for what, value in facts.items():
        if study.user_attrs.setdefault(what, value) != value:
            raise UsageError(f"{out}: was made with another {what}; give --out a new folder")
        study.set_user_attr(what, value)
    # Seeded anew with each start, or it would draw the first trials again.
    study.sampler = optuna.samplers.TPESampler(
        seed=search.recipe.seed + len(study.trials), n_startup_trials=FIRST_TRIALS
    )
    study.pruner = optuna.pruners.MedianPruner(FIRST_TRIALS, FIRST_STEPS)
    if not study.trials and search.start:
        study.enqueue_trial(search.start)
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            # What it was given to try is there from the start, what it has drawn itself bit by bit.
            values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            fruitless = 0 if trial.intermediate_values else trial.user_attrs.get(FRUITLESS, 0) + 1
            kept = {key: value for key, value in trial.user_attrs.items() if key == FOLDER}
            if values:
                study.enqueue_trial(values, user_attrs={**kept, FRUITLESS: fruitless})
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _run_trial(search: Search, study: Study, store: Store, out: Path) -> None:
    """Draw values, train with them, and tell the study what came of it."""
    import keras
    from optuna import TrialPruned
    from optuna.trial import TrialState

    from toolkit.training.callbacks import best_row
    from toolkit.training.trainer import train

    trial = study.ask()
    drawn = {key: values.draw(trial, key) for key, values in search.recipe.space.items()}
    folder = trial.user_attrs.get(FOLDER, f"{trial.number:03d}")
    trial.set_user_attr(FOLDER, folder)
    told = "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in drawn.items()
    )
    print(f"trial {len(_ended(study)) + 1} of {search.recipe.trials}: {told}", flush=True)
    keras.utils.clear_session()  # as if it were alone: what the trials before left behind would only grow
    run = out / "trials" / folder
    if trial.user_attrs.get(FRUITLESS, 0) >= MOST_FRUITLESS:
        trial.set_user_attr(ERROR, f"was broken off {MOST_FRUITLESS} times before an epoch was finished")
        study.tell(trial, state=TrialState.FAIL)
        return
    try:
        history = train(search.recipe_of(drawn), store.path, run, resume=True, watch=_reporter(trial))
    except TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except OF_ITS_VALUES as error:
        trial.set_user_attr(ERROR, str(error) or type(error).__name__)
        study.tell(trial, state=TrialState.FAIL)
    except ToolkitError as error:
        if error.__cause__ and is_interruption(error.__cause__):
            raise ToolkitError(f"{run}: stopped; the same command goes on with it") from error
        raise
    else:
        study.tell(trial, best_row(history)["val_dice"])


def _reporter(trial: Trial) -> Watch:
    """Reports a trial's best Dice so far at each tenth of its budget, and ends it where others were better by then."""
    from optuna import TrialPruned

    told: set[int] = set()

    def watch(history: list[dict[str, Any]], share: float) -> None:
        for step, dice in reached(history, share).items():
            if step not in told:
                trial.report(dice, step)
                told.add(step)
        if share < 1 and trial.should_prune():
            raise TrialPruned

    return watch


def reached(history: list[dict[str, Any]], share: float) -> dict[int, float]:
    """Best Dice by each tenth of the budget (1 to 10) at which an epoch was finished, epochs being of equal length.

    Args:
        history: a row an epoch.
        share: of the budget, spent with the last of them.
    """
    dice = [row["val_dice"] for row in history]
    finished = {step: int(len(dice) * step / STEPS / share + 1e-9) for step in range(1, int(STEPS * share + 1e-9) + 1)}
    return {step: max(dice[:epochs]) for step, epochs in finished.items() if epochs}


def _ended(study: Study) -> list[Ended]:
    """Trials that are not to be tried again; those that were broken off are."""
    from optuna.trial import TrialState

    of_interest = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "given up", TrialState.FAIL: ""}
    ended = []
    for trial in study.trials:
        state = of_interest.get(trial.state)
        state = trial.user_attrs.get(ERROR) if state == "" else state
        if state is None:
            continue
        seen = trial.intermediate_values
        dice = trial.value if trial.state == TrialState.COMPLETE else max(seen.values(), default=None)
        spent = STEPS if trial.state == TrialState.COMPLETE else max(seen, default=0)
        ended.append(Ended(state, dice, spent, dict(trial.params), trial.user_attrs[FOLDER]))
    return ended


def _best(ended: list[Ended]) -> Ended | None:
    complete = [trial for trial in ended if trial.state == "complete"]
    return max(complete, key=lambda trial: trial.dice or 0.0, default=None)


def _write(search: Search, ended: list[Ended], store: Store, out: Path) -> None:
    """Write what is known after a trial, and keep the weights of the best alone."""
    from toolkit.evaluation.search_chart import draw_search
    from toolkit.pictures import save_png

    rows = [{"trial": t.folder, "state": t.state, "dice": t.dice, "tenths": t.spent, **t.values} for t in ended]
    write_csv(out / "trials.csv", rows)
    logarithmic = {key for key, values in search.recipe.space.items() if values.log}
    save_png(out / "tuning.png", draw_search(rows, list(search.recipe.space), logarithmic, store.index.synthetic))
    best = _best(ended)
    if best:
        with atomic_path(out / "best.yaml") as partial:
            partial.write_text(search.recipe_of(best.values).to_yaml(), encoding="utf-8")
    for trial in ended:
        shutil.rmtree(out / "trials" / trial.folder / "last", ignore_errors=True)
        if best and trial.folder != best.folder:
            (out / "trials" / trial.folder / "best.keras").unlink(missing_ok=True)
