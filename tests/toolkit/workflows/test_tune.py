"""A search: what it gives up, goes on with, and keeps. Trainings are acted out; real ones are in tests/cli."""

from __future__ import annotations

import csv
import fcntl
import math

import pytest
import yaml

from toolkit.config import load_recipe
from toolkit.errors import ModelError, RecipeError, ToolkitError, UsageError
from toolkit.search import RangeRecipe
from toolkit.training import trainer
from toolkit.workflows.tune import reached, tune

EPOCHS = 10


class Acted:
    """In the place of `toolkit.training.trainer.train`: Dice rises to `1 - |log10(rate / 0.001)|`.

    Args:
        stop_in: (number of call, epoch) at which Ctrl-C is pressed.
    """

    def __init__(self, stop_in=(0, 0)):
        self.stop_in, self.calls = stop_in, []

    def __call__(self, recipe, store, run, resume, watch):
        assert resume
        known = (run / "epochs").read_text().split() if (run / "epochs").exists() else []
        run.mkdir(parents=True, exist_ok=True)
        (run / "last").mkdir(exist_ok=True)
        (run / "best.keras").touch()
        self.calls.append((recipe, run, len(known)))
        best = max(0.05, 1 - abs(math.log10(recipe.training.learning_rate / 1e-3)))
        for epoch in range(len(known), EPOCHS):
            if (len(self.calls), epoch) == self.stop_in:
                raise ToolkitError(f"{run}: stopped") from KeyboardInterrupt()
            known.append(str(best * (epoch + 1) / EPOCHS))
            (run / "epochs").write_text(" ".join(known))
            watch(
                [{"val_dice": float(dice), "epoch": number} for number, dice in enumerate(known)], (epoch + 1) / EPOCHS
            )
        return [{"val_dice": float(dice), "epoch": number} for number, dice in enumerate(known)]


@pytest.fixture
def acted(monkeypatch):
    def act(**arguments):
        double = Acted(**arguments)
        monkeypatch.setattr(trainer, "train", double)
        return double

    return act


@pytest.fixture
def store(make_store, make_case):
    return make_store([make_case(f"p{number}", f"p{number}", seed=number) for number in range(12)]).path


@pytest.fixture
def search(tmp_path):
    file = tmp_path / "mine.yaml"
    space = {"training.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}
    values = {"name": "mine", "base": "tiny", "budget": {"epochs": EPOCHS}, "trials": 12, "space": space}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(file)


def rows(out):
    return list(csv.DictReader((out / "trials.csv").read_text(encoding="utf-8").splitlines()))


def test_the_base_comes_first_bad_trials_are_given_up_and_the_best_is_a_recipe(acted, search, store, tmp_path):
    double = acted()
    best, ended = tune(search, store, tmp_path / "out")
    table = rows(tmp_path / "out")
    assert ended == len(table) == len(double.calls) == 12
    assert double.calls[0][0].training.learning_rate == load_recipe("tiny").training.learning_rate
    assert {row["state"] for row in table} == {"complete", "given up"}
    # Given up are those that were behind, after the first five and not before three tenths.
    given_up = [row for row in table if row["state"] == "given up"]
    assert all(int(row["trial"]) >= 5 and 3 <= int(row["tenths"]) < 10 for row in given_up)
    dice = {row["trial"]: float(row["dice"]) for row in table if row["state"] == "complete"}
    assert best.folder == max(dice, key=dice.__getitem__)
    assert best.dice == pytest.approx(1 - abs(math.log10(best.values["training.learning_rate"] / 1e-3)))
    found = load_recipe(tmp_path / "out/best.yaml")
    assert found.training.learning_rate == best.values["training.learning_rate"]
    assert found.name == "mine"


def test_weights_are_kept_of_the_best_alone(acted, search, store, tmp_path):
    acted()
    best, _ = tune(search, store, tmp_path / "out")
    assert [file.parent.name for file in (tmp_path / "out/trials").glob("*/best.keras")] == [best.folder]
    assert not list((tmp_path / "out/trials").glob("*/last"))
    names = {"lock", "search.yaml", "study.db", "trials", "trials.csv", "tuning.png", "best.yaml", "manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_a_trial_that_was_stopped_is_gone_on_with_where_it_was(acted, search, store, tmp_path):
    acted(stop_in=(3, 4))
    with pytest.raises(ToolkitError, match="stopped; the same command goes on"):
        tune(search, store, tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 2
    double = acted()
    _, ended = tune(search, store, tmp_path / "out")
    recipe, run, known = double.calls[0]
    assert (run.name, known) == ("002", 4)
    assert ended == 12
    table = rows(tmp_path / "out")
    assert [row["trial"] for row in table].count("002") == 1
    third = next(row for row in table if row["trial"] == "002")
    assert float(third["training.learning_rate"]) == recipe.training.learning_rate
    rates = {row["training.learning_rate"] for row in table}
    assert len(rates) == 12  # a search that is gone on with does not draw the same again


def test_more_trials_go_on_and_none_are_trained_where_all_are_there(acted, search, store, tmp_path):
    acted()
    before, _ = tune(search, store, tmp_path / "out")
    double = acted()
    assert tune(search, store, tmp_path / "out")[0] == before
    assert not double.calls
    _, ended = tune(search, store, tmp_path / "out", ("trials=14",))
    assert (ended, len(double.calls)) == (14, 2)


def test_tables_that_a_kill_left_out_are_written_without_another_trial(acted, search, store, tmp_path):
    acted()
    best, _ = tune(search, store, tmp_path / "out", ("trials=3",))
    before = (tmp_path / "out/trials.csv").read_bytes()
    for name in ("trials.csv", "tuning.png", "best.yaml", "manifest.json"):
        (tmp_path / "out" / name).unlink()
    double = acted()
    assert tune(search, store, tmp_path / "out", ("trials=3",)) == (best, 3)
    assert not double.calls
    assert (tmp_path / "out/trials.csv").read_bytes() == before
    assert load_recipe(tmp_path / "out/best.yaml").name == "mine"


def test_another_store_or_base_needs_another_folder(acted, search, store, make_store, tmp_path):
    acted()
    tune(search, store, tmp_path / "out", ("trials=1",))
    other = make_store(folder="other").path
    with pytest.raises(UsageError, match="was made with another store; give --out a new folder"):
        tune(search, other, tmp_path / "out", ("trials=2",))
    base = tmp_path / "base.yaml"
    base.write_text("name: mine", encoding="utf-8")
    tune(search, store, tmp_path / "own", ("trials=1", f"base={base}"))
    base.write_text("name: mine\nloss: {focal: 3}", encoding="utf-8")
    with pytest.raises(UsageError, match="was made with another base"):
        tune(search, store, tmp_path / "own", ("trials=2", f"base={base}"))


def test_two_searches_do_not_work_in_one_folder(acted, search, store, tmp_path):
    acted()
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another bts-tune works there"):
            tune(search, store, tmp_path / "out")


def test_what_is_killed_again_and_again_before_its_first_epoch_is_passed_over(acted, search, store, tmp_path):
    for _ in range(3):
        acted(stop_in=(1, 0))
        with pytest.raises(ToolkitError, match="stopped"):
            tune(search, store, tmp_path / "out", ("trials=2",))
    acted()
    best, ended = tune(search, store, tmp_path / "out", ("trials=2",))
    first, second = rows(tmp_path / "out")
    assert first["state"] == "was broken off 3 times before an epoch was finished"
    assert float(first["training.learning_rate"]) == load_recipe("tiny").training.learning_rate
    assert (second["state"], best.folder, ended) == ("complete", second["trial"], 2)


def test_a_kill_while_values_are_drawn_loses_none_of_them(acted, search, store, tmp_path, monkeypatch):
    acted()
    draw, drawn = RangeRecipe.draw, []

    def killed(self, trial, key):
        drawn.append(key)
        raise KeyboardInterrupt

    monkeypatch.setattr(RangeRecipe, "draw", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(search, store, tmp_path / "out", ("trials=1",))
    monkeypatch.setattr(RangeRecipe, "draw", draw)
    double = acted()
    tune(search, store, tmp_path / "out", ("trials=1",))
    assert drawn
    assert double.calls[0][0].training.learning_rate == load_recipe("tiny").training.learning_rate


def test_a_trial_that_needs_what_is_not_there_fails_alone(search, store, tmp_path, monkeypatch):
    class Lacking(Acted):
        def __call__(self, recipe, *arguments, **more):
            if not self.calls:
                self.calls.append((recipe, None, 0))
                raise ModelError("efficientnet-b7: its weights are not here")
            return super().__call__(recipe, *arguments, **more)

    monkeypatch.setattr(trainer, "train", Lacking())
    _, ended = tune(search, store, tmp_path / "out", ("trials=2",))
    assert [row["state"] for row in rows(tmp_path / "out")] == ["efficientnet-b7: its weights are not here", "complete"]
    assert ended == 2


def test_another_search_needs_another_folder(acted, search, store, tmp_path):
    acted()
    tune(search, store, tmp_path / "out", ("trials=1",))
    with pytest.raises(UsageError, match=r"another search \(budget differ\); give --out a new folder"):
        tune(search, store, tmp_path / "out", ("budget.epochs=3",))


def test_values_that_do_not_go_together_fail_alone_and_say_why(acted, search, store, tmp_path):
    acted()
    space = "space.data.window.slices={choices: [3, 4]}", "space.data.window.halo={choices: [0, 1]}"
    window = "set.data.window={slices: 4, halo: 0}"
    narrow = (window, *space, "space.data.window.slices={choices: [1, 4]}")
    with pytest.raises(RecipeError, match=r"data\.window\.slices=1"):
        # The base has halo 1 where it is not changed: then the end of the space alone is refused, before any trial.
        tune(search, store, tmp_path / "never", ("space.data.window.slices={choices: [1, 4]}",))
    _, ended = tune(search, store, tmp_path / "out", narrow)
    states = [row["state"] for row in rows(tmp_path / "out")]
    failed = [state for state in states if "2 * halo must be below slices" in state]
    assert failed
    assert ended == len(states) == 12


def test_a_damaged_study_is_named(acted, search, store, tmp_path):
    acted()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/study.db").write_bytes(b"no database" * 100)
    with pytest.raises(ToolkitError, match=r"study\.db: not a readable study"):
        tune(search, store, tmp_path / "out")


def test_without_optuna_it_says_what_to_install(acted, search, store, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'brain-tumour-segmentation\[tune\]'"):
        tune(search, store, tmp_path / "out")


@pytest.mark.parametrize(
    ("dice", "share", "by_hand"),
    [
        ([0.1], 0.1, {1: 0.1}),
        ([0.3, 0.2], 0.2, {1: 0.3, 2: 0.3}),
        ([0.1, 0.4], 0.5, {3: 0.1, 4: 0.1, 5: 0.4}),
        ([0.1, 0.2, 0.3], 1.0, {4: 0.1, 5: 0.1, 6: 0.1, 7: 0.2, 8: 0.2, 9: 0.2, 10: 0.3}),
        ([0.2], 0.05, {}),
    ],
)
def test_the_best_so_far_at_each_tenth_of_the_budget(dice, share, by_hand):
    assert reached([{"val_dice": value} for value in dice], share) == by_hand
