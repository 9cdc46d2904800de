"""The report of an evaluation: every number with its level, and the failures in plain sight."""

import re
from html import unescape

import numpy as np
import pytest

from toolkit.evaluation.evaluator import CaseResult, evaluate_cases, read_per_image
from toolkit.report.evaluation import write_evaluation_report

MEANS = {
    "dice": 0.811,
    "jaccard": 0.702,
    "precision": 0.853,
    "recall": 0.794,
    "specificity": 0.997,
    "accuracy": 0.991,
    "f1": 0.811,
    "hd95": 6.25,
    "nsd": None,
}
METRICS = {
    "per_image_mean": MEANS,
    "pooled": {**MEANS, "dice": 0.833},
    "per_patient_mean": {**MEANS, "dice": 0.799},
    "lesion_wise": {
        "dice": 0.71,
        "n_lesions": 12,
        "false_positives_per_case": None,
        "matching_rule": "any overlap",
    },
    "confidence_95": {"dice": [0.78, 0.84]},
    "per_tumour_type": {"glioma": {"n_images": 20, "dice": 0.75}, "pituitary": {"n_images": 10, "dice": 0.9}},
    "n_images": 32,
    "n_patients": 9,
    "n_empty": 2,
    "empty_mask_rule": "both empty counts as 1",
    "distance_unit": "pixels",
    "synthetic": False,
}
PER_IMAGE = [
    {"case": f"case-{i}", "slice": i, "tumour_type": ("glioma", "pituitary")[i % 2], "dice": i / 30 + 0.01}
    for i in range(29)
] + [{"case": "without-tumour", "slice": 0, "tumour_type": None, "dice": None}]
HISTORY = [{"epoch": 0, "loss": 0.9, "val_dice": 0.1}, {"epoch": 1, "loss": 0.5, "val_dice": 0.6}]


@pytest.fixture
def report(tmp_path):
    def write(metrics=METRICS, per_image=PER_IMAGE, examples=(), history=None):
        write_evaluation_report(tmp_path / "r.html", metrics, per_image, examples, {"seed": 1}, history)
        return (tmp_path / "r.html").read_text(encoding="utf-8")

    return write


def text(html):
    html = re.sub(r"<style.*?</style>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_it_says_what_it_is_and_opens_offline(report):
    html = report(history=HISTORY, examples=[("best", np.zeros((8, 8, 3), np.uint8))])
    assert "Research software, not a medical device." in text(html)
    assert not re.search(r"https?://|<link|@import|src=\"(?!data:)", html)


def test_each_metric_has_its_levels_and_its_interval(report):
    seen = text(report())
    assert "Dice 0.811 0.780 to 0.840 0.833 0.799" in seen
    assert "HD95, pixels 6.250 – 6.250 6.250" in seen
    assert "the rule is: both empty counts as 1" in seen


def test_certainty_has_its_numbers_and_says_what_it_can_not_know(report):
    found = {"auc": 0.9, "auc_95": [0.8, 0.95], "area_auc": 0.7, "area_auc_95": [0.5, 0.85], "n_low": 5, "n": 32}
    nothing_low = dict.fromkeys(found) | {"n_low": 0, "n": 9}
    calibration = {
        name: value for measure in ("ece", "nll", "brier") for name, value in ((measure, 0.25), (f"{measure}_95", None))
    }
    review = {"low_dice": 0.5, "pictures": found, "cases": nothing_low}
    seen = text(report(METRICS | {"calibration": calibration, "review_score": review}))
    assert "Expected calibration error 0.250 –" in seen
    assert "AUC of the review score, 5 of 32 pictures with Dice < 0.5 0.900 0.800 to 0.950" in seen
    assert "AUC of a small marked area, 5 of 32 pictures with Dice < 0.5 0.700 0.500 to 0.850" in seen
    assert "0 of 9 cases with Dice < 0.5 – –" in seen
    assert "nothing of a tumour missed with confidence" in seen
    assert "Certainty" not in text(report())


def test_a_metric_that_is_not_defined_is_a_dash(report):
    seen = text(report())
    assert "NSD – – – –" in seen
    assert "Dice 0.710 Lesions 12 False positives per case – Matching rule: any overlap" in seen


def test_levels_that_are_missing_altogether_do_not_break_the_report(report):
    bare = {
        **METRICS,
        "per_image_mean": None,
        "lesion_wise": None,
        "confidence_95": None,
        "per_tumour_type": None,
    }
    assert "Dice – – 0.833 0.799" in text(report(metrics=bare, per_image=[]))


def test_each_tumour_type_has_its_row(report):
    assert "Type Images Dice glioma 20 0.750 pituitary 10 0.900" in text(report())


def test_the_histograms_count_every_rated_image_once(report):
    html = report()
    for name, n in (("All images", 29), ("glioma", 15), ("pituitary", 14)):
        figure = next(f for f in re.findall(r"<figure>.*?</figure>", html, re.S) if f">{name}<" in f)
        assert sum(int(count) for count in re.findall(r": (\d+)</title>", figure)) == n
        assert f"{name}: {n} images" in figure


def test_the_worst_twelve_are_listed_with_the_worst_first(report):
    html = report()
    table = text(html[html.index("with the lowest Dice") :])
    listed = re.findall(r"case-(\d+)", table)
    assert listed == [str(i) for i in range(12)]
    assert "without-tumour" not in table


def test_the_label_is_named_only_where_there_are_several(report):
    def header(labels):
        rows = [{**row, "label": labels[i % len(labels)]} for i, row in enumerate(PER_IMAGE)]
        html = report(per_image=rows)
        return text(html[html.index("with the lowest Dice") :])[:80]

    assert "Case Slice Tumour type Dice" in header(["tumour"])
    assert "Case Slice Label Tumour type Dice" in header(["core", "oedema"])


def test_examples_have_their_title_as_caption_and_alternative_text(report):
    html = report(examples=[("50th percentile <i>", np.zeros((8, 8, 3), np.uint8))])
    assert html.count("50th percentile &lt;i&gt;") == 2


def test_the_curve_is_there_only_with_a_history(report):
    assert "Curves of the training" in report(history=HISTORY)
    assert "Curves of the training" not in report()


def test_made_up_data_is_named(report):
    assert "Synthetic phantom data" in text(report(metrics={**METRICS, "synthetic": True}))
    assert "Synthetic phantom data" not in text(report())


def test_what_the_evaluation_gives_is_what_the_report_takes(report, tmp_path):
    truth = np.zeros((2, 16, 16), bool)
    truth[0, 4:8, 4:8] = True
    results = [
        CaseResult("case-1", "p1", truth, truth, tumour_type="glioma"),
        CaseResult("case-2", "p2", truth, np.roll(truth, 2, axis=2), tumour_type="pituitary", synthetic=True),
    ]
    metrics = evaluate_cases(results, tmp_path / "evaluation")
    per_image = read_per_image(tmp_path / "evaluation" / "per_image.csv")
    seen = text(report(metrics=metrics, per_image=per_image))
    # The second tumour is half hit: Dice 8 * 2 / (16 + 16); slices without tumour are right, 1.
    assert "Dice, mean per image 0.875" in seen
    assert "Images 4 Patients 2 Images without tumour 2" in seen
    assert "Synthetic phantom data" in seen
    assert seen.index("with the lowest Dice") < seen.index("case-2") < seen.index("case-1")


def test_a_leaking_split_is_said_above_its_numbers(report):
    leaking = text(
        report(metrics={**METRICS, "split_leaks_patients": True, "part": "val", "split": "by_slice_leaking"})
    )
    assert leaking.index("This split leaks") < leaking.index("Dice, mean per image")
    assert "by_slice_leaking" in leaking
    assert "This split leaks" not in text(report())
