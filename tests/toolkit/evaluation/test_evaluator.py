"""A small study, from masks to the four files.

Anna has a volume of three slices of 1 mm, her tumour marked half right; Ben a
lone picture with his tumour missed; Cleo a picture without a tumour, rightly
left empty. Ben was scanned twice under two names, so both are one patient group.
"""

import csv
import gc
import json
import math
import weakref

import numpy as np
import pytest

from toolkit.errors import OutputError, StoreError, ToolkitError
from toolkit.evaluation.evaluator import (
    CaseResult,
    check_dice_and_jaccard,
    evaluate_cases,
    read_per_image,
    representative_images,
)
from toolkit.evaluation.statistics import bootstrap_interval
from toolkit.metrics import METRICS, EmptyMaskRule, hd95, surface_distances

SIZE = 32


def masks(*boxes):
    """`(slices, 32, 32)`: in each slice a box `(top, left, bottom, right)`, or nothing."""
    result = np.zeros((len(boxes), SIZE, SIZE), bool)
    for i, box in enumerate(boxes):
        if box:
            top, left, bottom, right = box
            result[i, top:bottom, left:right] = True
    return result


def anna(**changes):
    truth = masks((4, 4, 8, 8), (4, 4, 12, 12), None)
    prediction = masks((4, 6, 8, 10), (4, 4, 12, 12), None)
    settings = {"plane": "axial", "tumour_type": "glioma", "spacing_mm": (1.0, 1.0, 1.0)} | changes
    return CaseResult("anna-1", "anna", truth, prediction, **settings)


def ben(number=1, **changes):
    settings = {"patient_group": "ben", "tumour_type": "meningioma"} | changes
    return CaseResult(f"ben-{number}", f"ben{number}", masks((0, 0, 4, 4)), masks(None), **settings)


def cleo():
    return CaseResult("cleo-1", "cleo", masks(None), masks(None))


def study():
    return [anna(), ben(1), ben(2), cleo()]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_average_answers_its_own_question(tmp_path):
    metrics = evaluate_cases(study(), tmp_path)

    # Pictures: Anna 0.5, 1, and 1 for the empty slice; Ben 0 twice; Cleo 1.
    assert metrics["per_image_mean"]["dice"] == pytest.approx((0.5 + 1 + 1 + 0 + 0 + 1) / 6)
    # Pixels: 8 + 64 shared, of 16 + 64 + 16 + 16 true and 16 + 64 marked.
    assert metrics["pooled"]["dice"] == pytest.approx(2 * 72 / (112 + 80))
    # Patients: Anna's volume, Ben's two pictures together, Cleo.
    assert metrics["per_patient_mean"]["dice"] == pytest.approx((2 * 72 / 160 + 0 + 1) / 3)
    assert (metrics["n_images"], metrics["n_patients"], metrics["n_cases"]) == (6, 3, 4)
    assert metrics["n_empty"] == 2


def test_every_average_holds_every_metric_and_says_what_it_cannot_hold(tmp_path):
    metrics = evaluate_cases(study(), tmp_path)
    for average in ("per_image_mean", "pooled", "per_patient_mean", "confidence_95"):
        assert list(metrics[average]) == list(METRICS)
    assert metrics["pooled"]["hd95"] is None
    assert metrics["pooled"]["nsd"] is None
    assert "hd95 and nsd" in metrics["pooled_note"]
    assert metrics["foreground_only"] is True
    assert metrics["empty_mask_rule"] == "both-empty-is-one"
    assert metrics["nsd_tolerance"] == 2.0


def test_the_distance_of_a_missed_tumour_is_the_diagonal_of_its_own_picture(tmp_path):
    metrics = evaluate_cases([ben(1), ben(2)], tmp_path)
    assert metrics["per_image_mean"]["hd95"] == pytest.approx(math.hypot(SIZE, SIZE))
    assert metrics["per_image_mean"]["nsd"] == 0.0
    assert metrics["distance_unit"] == "pixel"


def test_lesions_are_found_missed_and_measured(tmp_path):
    metrics = evaluate_cases(study(), tmp_path)
    lesion_wise = metrics["lesion_wise"]
    assert lesion_wise["n_lesions"] == 3
    assert lesion_wise["dice"] == pytest.approx((144 / 160 + 0 + 0) / 3)
    assert lesion_wise["sensitivity"] == pytest.approx(1 / 3)
    assert lesion_wise["false_positives_per_case"] == 0
    assert lesion_wise["matching_rule"] == "one-to-one-iou-0.1"
    rows = rows_of(tmp_path / "per_lesion.csv")
    assert [(row["case"], row["status"]) for row in rows] == [
        ("anna-1", "found"),
        ("ben-1", "missed"),
        ("ben-2", "missed"),
    ]
    assert rows[0]["truth_pixels"] == "80"
    assert rows[1]["truth_mm3"] == ""  # Ben's spacing is not known


def test_lesion_volume_is_in_cubic_millimetres(tmp_path):
    evaluate_cases([anna(spacing_mm=(2.0, 0.5, 0.5))], tmp_path)
    [row] = rows_of(tmp_path / "per_lesion.csv")
    assert float(row["truth_mm3"]) == pytest.approx(80 * 0.5)


def test_a_volume_is_measured_in_3d_for_the_patient_and_in_2d_for_its_pictures(tmp_path):
    result = anna(spacing_mm=(2.0, 0.5, 1.0))
    metrics = evaluate_cases([result], tmp_path)
    in_3d = hd95(surface_distances(result.truth, result.prediction, (2.0, 0.5, 1.0)))
    in_2d = [hd95(surface_distances(result.truth[i], result.prediction[i], (0.5, 1.0))) for i in range(3)]
    assert metrics["per_patient_mean"]["hd95"] == pytest.approx(in_3d)
    assert metrics["per_image_mean"]["hd95"] == pytest.approx(np.mean(in_2d))
    assert in_3d != pytest.approx(np.mean(in_2d))
    assert (metrics["distance_unit"], metrics["patient_distance"]) == ("mm", "volume")


@pytest.mark.parametrize("spacing", [None, (3.5, 1.0, 1.0)], ids=["unknown spacing", "thick slices"])
def test_a_stack_of_pictures_is_no_volume(tmp_path, spacing):
    metrics = evaluate_cases([anna(spacing_mm=spacing)], tmp_path)
    assert metrics["patient_distance"] == "mean of pictures"
    assert metrics["per_patient_mean"]["hd95"] == pytest.approx(metrics["per_image_mean"]["hd95"])


def test_mixed_units_are_said_to_be_mixed(tmp_path):
    metrics = evaluate_cases(study(), tmp_path)
    assert (metrics["distance_unit"], metrics["patient_distance"]) == ("mixed", "mixed")


def test_the_interval_is_a_bootstrap_over_patient_groups(tmp_path):
    metrics = evaluate_cases(study(), tmp_path, seed=5)
    dice = [0.5, 1, 1, 0, 0, 1]
    expected = bootstrap_interval(dice, ["anna", "anna", "anna", "ben", "ben", "cleo"], seed=5)
    assert metrics["confidence_95"]["dice"] == pytest.approx(expected)
    assert "seed 5" in metrics["confidence_note"]


def test_one_patient_has_no_interval(tmp_path):
    metrics = evaluate_cases([anna()], tmp_path)
    assert metrics["confidence_95"] == dict.fromkeys(METRICS)


def test_tumour_types_are_reported_apart(tmp_path):
    metrics = evaluate_cases(study(), tmp_path)
    assert metrics["per_tumour_type"] == {
        "glioma": {"dice": pytest.approx(2.5 / 3), "n_images": 3, "n_patients": 1},
        "meningioma": {"dice": 0.0, "n_images": 2, "n_patients": 1},
    }


def test_several_classes_of_a_case_are_averaged_and_reported_apart(tmp_path):
    core, edema = anna(label="core"), anna(label="edema")
    edema.prediction[:] = edema.truth
    metrics = evaluate_cases([core, edema], tmp_path)
    assert (metrics["n_images"], metrics["n_patients"], metrics["n_cases"], metrics["n_empty"]) == (
        3,
        1,
        1,
        1,
    )
    assert metrics["per_label"]["core"]["dice"] == pytest.approx(2.5 / 3)
    assert metrics["per_label"]["edema"]["dice"] == 1.0
    assert metrics["per_image_mean"]["dice"] == pytest.approx((2.5 / 3 + 1) / 2)
    assert [row["label"] for row in rows_of(tmp_path / "per_patient.csv")] == ["core", "edema"]


def test_empty_pictures_may_be_left_out(tmp_path):
    metrics = evaluate_cases(study(), tmp_path, rule=EmptyMaskRule.BOTH_EMPTY_IS_LEFT_OUT)
    assert metrics["per_image_mean"]["dice"] == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert metrics["per_patient_mean"]["dice"] == pytest.approx((144 / 160 + 0) / 2)
    assert metrics["empty_mask_rule"] == "both-empty-is-left-out"
    assert rows_of(tmp_path / "per_image.csv")[-1]["dice"] == ""


def test_nothing_but_empty_pictures_left_out_gives_no_number(tmp_path):
    metrics = evaluate_cases([cleo()], tmp_path, rule=EmptyMaskRule.BOTH_EMPTY_IS_LEFT_OUT)
    assert metrics["per_image_mean"]["dice"] is None
    assert metrics["pooled"]["hd95"] is None
    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text)["per_image_mean"]["dice"] is None
    assert "NaN" not in text


def test_made_up_images_are_marked(tmp_path):
    assert evaluate_cases(study(), tmp_path / "real")["synthetic"] is False
    assert evaluate_cases([anna(synthetic=True), cleo()], tmp_path / "phantom")["synthetic"] is True


def test_the_files_hold_what_was_returned(tmp_path):
    metrics = evaluate_cases(study(), tmp_path / "new" / "folder")
    out = tmp_path / "new" / "folder"
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "per_image.csv",
        "per_lesion.csv",
        "per_patient.csv",
    ]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    images, patients = read_per_image(out / "per_image.csv"), rows_of(out / "per_patient.csv")
    assert len(images) == 6
    first = images[0]
    assert (first["patient_group"], first["slice"], first["slice_index"]) == ("anna", "0", 0)
    assert (first["tp"], first["fp"], first["fn"], first["dice"]) == (8, 8, 8, 0.5)
    assert images[-1]["tumour_type"] is None
    for name in METRICS:
        assert np.mean([row[name] for row in images]) == pytest.approx(metrics["per_image_mean"][name])
        assert np.mean([float(row[name]) for row in patients]) == pytest.approx(metrics["per_patient_mean"][name])


def test_masks_are_let_go_once_their_case_is_counted(tmp_path):
    masks_seen = []

    def results():
        for i in range(5):
            gc.collect()
            alive = sum(reference() is not None for reference in masks_seen)
            assert alive <= 1, "at most the case just counted may still be held"
            result = CaseResult(f"case-{i}", f"patient-{i}", masks((2, 2, 9, 9)), masks((3, 3, 9, 9)))
            masks_seen.append(weakref.ref(result.truth))
            yield result
            del result

    assert evaluate_cases(results(), tmp_path)["n_images"] == 5
    gc.collect()
    assert [reference() for reference in masks_seen] == [None] * 5


def test_a_split_without_cases_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="choose a split"):
        evaluate_cases([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken"):
        evaluate_cases([anna()], tmp_path / "taken")


def test_masks_of_two_sizes_are_refused_with_the_case_named():
    with pytest.raises(ValueError, match="anna-1"):
        CaseResult("anna-1", "anna", masks(None), masks(None)[:, :-1])
    with pytest.raises(ValueError, match="2 names, 1 slices"):
        CaseResult("anna-1", "anna", masks(None), masks(None), slice_names=("17", "18"))


def test_the_papers_table_of_jaccard_above_dice_cannot_come_from_one_mask():
    """Table 3 gives U-Net a Dice of 83.45 and a Jaccard of 84.20; 83.45 goes with 71.60."""
    check_dice_and_jaccard(0.8345, 0.8345 / (2 - 0.8345), "U-Net")
    with pytest.raises(ToolkitError, match="U-Net"):
        check_dice_and_jaccard(0.8345, 0.8420, "U-Net")
    with pytest.raises(ToolkitError, match="U-Net"):
        check_dice_and_jaccard(0.8345, 0.8000, "U-Net")


def test_a_metric_gone_wrong_stops_the_evaluation(tmp_path, monkeypatch):
    def jaccard_with_background(counts, rule):
        return 0.5 * (counts.tp / (counts.tp + counts.fp + counts.fn) + 1.0)

    from toolkit import metrics as module

    wrong = [
        metric._replace(function=jaccard_with_background) if metric.short_name == "jaccard" else metric
        for metric in module.COUNT_METRICS
    ]
    monkeypatch.setattr(module, "COUNT_METRICS", tuple(wrong))
    with pytest.raises(ToolkitError, match="anna-1, 0: Jaccard"):
        evaluate_cases([anna()], tmp_path)
    assert not list(tmp_path.iterdir())


def dice_rows(*values, truth_pixels=9):
    return [
        {"case": f"c{i:03}", "slice_index": 0, "label": "tumour", "truth_pixels": truth_pixels, "dice": value}
        for i, value in enumerate(values)
    ]


def test_the_pictures_of_a_figure_are_chosen_by_percentile():
    rows = dice_rows(*np.random.default_rng(0).permutation(101) / 100)
    assert [row["dice"] for row in representative_images(rows)] == [0.95, 0.5, 0.05]


def test_the_choice_does_not_depend_on_the_order_of_the_rows():
    rows = dice_rows(0.2, 0.8, 0.8, 0.8, 0.9)
    assert representative_images(rows) == representative_images(rows[::-1])
    assert representative_images(rows, [50])[0]["case"] == "c001"


def test_pictures_without_a_tumour_are_not_chosen():
    empty = dice_rows(*[1.0] * 50, truth_pixels=0)
    assert [row["dice"] for row in representative_images(empty + dice_rows(0.3, 0.4, 0.5))] == [0.5, 0.4, 0.3]
    assert representative_images(empty) == []
