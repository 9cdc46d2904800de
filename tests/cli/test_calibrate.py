"""Calibrate on validation patients: a short table, and a temperature in the model file."""

from __future__ import annotations

import pytest

from toolkit.models.model_file import read_info


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_here):
    out = tmp_path_factory.mktemp("stores") / "phantom"
    # Of 20 patients two or more are for validation, so that one can be measured by the other's temperature.
    assert run_here("prepare", "phantom", "--out", out, "--patients", 20, "--size", 32)[0] == 0
    return out


def test_a_table_is_printed_and_the_temperature_is_stored(model, store, tmp_path, run_here):
    out = tmp_path / "out"
    code, text, err = run_here("evaluate", model, "--data", store, "--calibrate", "--out", out)
    assert code == 0, err
    head, how, titles, *table, stored, picture = text.splitlines()
    assert head.startswith("val split (by_patient): ")
    assert how.startswith("  after: each patient by what others give, temperature ")
    assert titles.split() == ["before", "after", "after", "-", "before,", "95", "%", "interval"]
    assert [line.split()[0] for line in table] == ["ece", "nll", "brier"]
    info = read_info(model)
    assert stored.startswith(f"temperature {info.temperature:.3f}, offset {info.offsets[0]:+.3f} (of all of them)")
    assert stored.endswith(f"now in {model}")
    assert picture == f"picture: {out / 'reliability.png'}"
    code, text, err = run_here("evaluate", model, "--data", store, "--out", tmp_path / "judged")
    assert code == 0, err
    assert f"at temperature {read_info(model).temperature:.3f}" in text


@pytest.mark.parametrize("what", ["--calibrate", "--choose-postprocessing"])
@pytest.mark.parametrize("way", [["--tta"], ["--tiles"], ["--mc-dropout", 2], ["--no-postprocessing"]])
def test_what_is_stored_is_of_the_model_as_it_is(model, store, tmp_path, run_here, what, way):
    before = model.read_bytes()
    code, _, err = run_here("evaluate", model, "--data", store, what, *way, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith(f"error: {what}: is for one model as it is; leave --ensemble")
    assert model.read_bytes() == before


@pytest.mark.parametrize("part", ["test", "train"])
def test_other_parts_are_not_for_calibrating(model, store, tmp_path, run_here, part):
    before = model.read_bytes()
    code, _, err = run_here(
        "evaluate", model, "--data", store, "--split", part, "--calibrate", "--out", tmp_path / "out"
    )
    assert code == 2
    assert err.startswith(f"error: --calibrate: {part} is not for calibrating")
    assert model.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_two_choices_are_made_one_after_the_other(model, store, tmp_path, run_here):
    options = ("--calibrate", "--choose-postprocessing")
    code, _, err = run_here("evaluate", model, "--data", store, *options, "--out", tmp_path / "out")
    assert code == 2
    assert "one after the other" in err
    assert not (tmp_path / "out").exists()
