"""The tables say whose numbers they show, on what split, and what can't be read from them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from toolkit.evaluation.comparison import COLUMNS, RunResult, table_rows
from toolkit.evaluation.comparison_chart import figure6
from toolkit.evaluation.comparison_tables import Context, table3, table4
from toolkit.evaluation.paper import TABLE3, TABLE4

LABELS = {"proposed": "Proposed", "unet": "U-Net", "loose": "Proposed (LEAKS PATIENTS)"}
PAPER = {"proposed": "proposed", "unet": "unet", "loose": "proposed"}


def result(model, mean, leaking=False, patients=12):
    rng = np.random.default_rng(len(model))
    values = np.clip(rng.normal(mean, 0.08, (3 * patients, len(COLUMNS))), 0, 1)
    rows = [
        {"case": f"c{i // 3}", "slice": str(i), "label": "tumour", "patient_group": f"p{i // 3}"}
        | dict(zip(COLUMNS.values(), map(float, row), strict=True))
        for i, row in enumerate(values)
    ]
    split = "by_slice_leaking" if leaking else "by_patient"
    return RunResult(model, 1, rows, 25.04, [0.5] * 14, 1_234_567, split, leaking)


def rows(**more):
    results = [result("proposed", 0.8, **more), result("unet", 0.7, **more), result("loose", 0.9, leaking=True)]
    return table_rows(results, "proposed", [1])


def context(**changes):
    known = {
        "title": "figshare",
        "reference": "proposed",
        "labels": LABELS,
        "paper": PAPER,
        "seeds": (1,),
        "budget": "25 minutes",
        "data": "figshare",
        "empty_mask_rule": "both-empty-is-one",
        "empty_accuracy": 0.9821,
        "unfinished": (),
        "command": "bts-compare compare --data store --out out",
        "synthetic": False,
    }
    return Context(**(known | changes))


def cells(text, first):
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {first} |")]


def test_ours_stand_in_percent_with_intervals_and_the_papers_are_marked_as_the_papers():
    table, text = rows(), table3(rows(), context())
    ours = cells(text, "Proposed")[0]
    first = table[0]
    assert ours[1] == f"{100 * first['dsc']:.2f} ({100 * first['dsc_low']:.2f} to {100 * first['dsc_high']:.2f})"
    assert len(ours) == 1 + len(COLUMNS)
    assert cells(text, "*the paper's U-Net*")[0][1:4] == ["*83.45*", "*84.20*", "*88.03*"]
    assert text.count("*the paper's Proposed*") == 1
    for word in ("both-empty-is-one", "98.21", "25 minutes", "can't be foreground Jaccard", "`bts-compare compare"):
        assert word in text


def test_who_leaks_is_called_so_in_every_table_and_never_tested():
    text = table3(rows(), context())
    assert len(cells(text, LABELS["loose"])) == 3
    assert [row[1] for row in cells(text, LABELS["loose"]) if "not" in row[1]] == ["not tested: leaks patients"]
    (leaking,) = cells(table4(rows(), context()), f"ours: {LABELS['loose']}")
    assert leaking[2] == "by_slice_leaking, validation"


def test_too_few_patients_for_a_test_are_told():
    assert "No corrected p below" not in table3(rows(), context())
    few = [result("proposed", 0.8, patients=5), result("unet", 0.7, patients=5)]
    text = table3(table_rows(few, "proposed", [1]), context())
    assert "No corrected p below 0.062 can come out here (patients: 5, tests: 1)" in text


def test_unfinished_and_synthetic_stand_on_top():
    text = table3(rows(), context(unfinished=["unet, seed 2"], synthetic=True))
    assert text.splitlines()[2].startswith("**SYNTHETIC")
    assert text.splitlines()[4].startswith("**Unfinished: unet, seed 2.**")


def test_table_4_quotes_both_of_the_papers_values_beside_ours():
    text = table4(rows(), context())
    values = [row[-1] for line in text.splitlines() if "| not " in line for row in [line.strip("| ").split(" | ")]]
    assert values == ["88.50", "92.56", "91.69", "93.35", "89.60", "86.93", "89.10", "92.68", "98.03", "97.03"]
    assert len(TABLE4) == 10
    assert cells(text, "ours: U-Net")[0][1:3] == ["figshare", "by_patient, validation"]


def test_the_papers_u_net_is_quoted_as_printed_though_it_can_not_be():
    """Jaccard D / (2 - D) of Dice 83.45 is 71.6; the paper prints 84.20."""
    impossible = [name for name, row in TABLE3.items() if row.ji > row.dsc]
    assert impossible == ["unet"]


def test_without_a_row_of_the_papers_it_is_not_mentioned():
    assert not re.search("paper", table3(rows(), context(paper={})))


def colours(picture, rgb):
    return int(np.all(np.abs(picture.astype(int) - rgb) <= 2, axis=-1).sum())


def test_the_bars_of_figure_6_are_as_high_as_the_numbers():
    quoted = {"unet": TABLE3["unet"]}
    table = [
        {**row, **{f"{column}_{end}": math.nan for column in COLUMNS for end in ("low", "high")}} for row in rows()
    ]
    half = [{**row, "dsc": row["dsc"] / 2} for row in table]
    blue = (0, 114, 178)
    whole_blue, half_blue = (colours(figure6(t, LABELS, {}), blue) for t in (table[:2], half[:2]))
    assert half_blue / whole_blue == pytest.approx(0.5, abs=0.06)
    assert (figure6(table, LABELS, quoted) != figure6(table, LABELS, {})).any()
