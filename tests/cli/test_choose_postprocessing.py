"""Choose on validation patients, then predict with it and without."""

from __future__ import annotations

import json

import pytest

from toolkit.models.model_file import PostProcessing, read_info, replace_info
from toolkit.workflows.phantom_scan import write_phantom_scan


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_here):
    out = tmp_path_factory.mktemp("stores") / "phantom"
    assert run_here("prepare", "phantom", "--out", out, "--patients", 6, "--size", 32)[0] == 0
    return out


def test_a_table_is_printed_and_the_first_of_it_is_stored(model, store, tmp_path, run_here):
    out = tmp_path / "out"
    code, text, err = run_here("evaluate", model, "--data", store, "--choose-postprocessing", "--out", out)
    assert code == 0, err
    head, titles, *table = text.splitlines()
    assert head.startswith("val split (by_patient): ")
    assert titles.split()[:5] == ["threshold", "smallest", "holes", "largest", "Dice"]
    threshold, smallest, holes, largest, dice, gain, *_ = table[0].split()
    info = read_info(model)
    assert float(threshold) == info.threshold
    assert smallest == (
        "-" if not info.post_processing.smallest_component else f"{info.post_processing.smallest_component:g}"
    )
    assert (holes == "fill", largest == "only") == (info.post_processing.fill_holes, info.post_processing.largest_only)
    (none,) = [line.split() for line in table if line.split()[:4] == ["0.5", "-", "-", "-"]]
    assert float(dice) - float(none[4]) == pytest.approx(float(gain), abs=2e-4)
    assert f"is now in {model}" in text


@pytest.mark.parametrize("part", ["test", "train"])
def test_other_parts_are_not_for_choosing(model, store, tmp_path, run_here, part):
    before = model.read_bytes()
    code, _, err = run_here(
        "evaluate", model, "--data", store, "--split", part, "--choose-postprocessing", "--out", tmp_path / "out"
    )
    assert code == 2
    assert err.startswith(f"error: --choose-postprocessing: {part} is not for choosing")
    assert model.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_predict_does_what_is_stored_unless_it_is_told_not_to(model, tmp_path, run_here):
    replace_info(model, read_info(model).model_copy(update={"post_processing": PostProcessing(largest_only=True)}))
    write_phantom_scan(tmp_path / "scan.nii.gz", size=48, slices=5)
    lesions = {}
    # Into one folder: what is kept of the first must not be taken for an answer of the second.
    for option in ((), ("--no-postprocessing",)):
        code, text, err = run_here(
            "predict", tmp_path / "scan.nii.gz", "--model", model, *option, "--out", tmp_path / "out"
        )
        assert code == 0, err
        summary = json.loads((tmp_path / "out/summary.json").read_text())
        assert summary["post_processing"] == PostProcessing(largest_only=not option).model_dump()
        assert summary["threshold"] == 0.5
        lesions[option] = summary["cases"]["scan"]["number_of_lesions"]
        assert f"{lesions[option]} lesion" in text
    assert lesions[()] == 1 < lesions["--no-postprocessing",]
