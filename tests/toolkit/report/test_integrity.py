"""The report of the integrity gate: what is there, what is wrong, or that nothing is."""

import re
from html import unescape

import numpy as np
import pytest

from toolkit.data.integrity import Finding
from toolkit.report.integrity import write_integrity_report

SUMMARY = {
    "cases": 30,
    "slices": 400,
    "patients": 12,
    "patient_groups": 11,
    "per_class": {"glioma": 250, "pituitary": 150},
    "per_split": {"train": {"cases": 20, "patients": 8}, "val": {"cases": 10}},
}
FINDINGS = [
    Finding("warning", "b.mat", "empty-mask", "no tumour is marked; check that this is meant"),
    Finding("error", "z.mat", "mask-shape", "mask does not fit image; leave it out with --skip-bad"),
    Finding("warning", "c.mat", "duplicate", "same pixels as d.mat; remove one"),
    Finding("warning", "a.mat", "empty-mask", "no tumour is marked; check that this is meant"),
]


@pytest.fixture
def report(tmp_path):
    def write(summary=SUMMARY, findings=(), thumbnails=()):
        write_integrity_report(tmp_path / "r.html", summary, findings, thumbnails, {"seed": 1})
        return (tmp_path / "r.html").read_text(encoding="utf-8")

    return write


def text(html):
    html = re.sub(r"<style.*?</style>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_it_says_what_it_is_and_opens_offline(report):
    html = report(findings=FINDINGS, thumbnails=[("case 1", np.zeros((8, 8, 3), np.uint8))])
    assert "Research software, not a medical device." in text(html)
    assert not re.search(r"https?://|<link|@import|src=\"(?!data:)", html)


def test_the_counts_are_shown_with_their_names(report):
    seen = text(report())
    assert "Cases 30 Slices 400 Patients 12 Patient groups 11" in seen
    assert "Per class Count glioma 250 pituitary 150" in seen
    assert "Per split Cases Patients train 20 8 val 10 –" in seen


def test_errors_come_before_warnings_each_grouped_by_rule(report):
    seen = text(report(findings=FINDINGS))
    order = ["Errors", "mask-shape 1 file", "z.mat", "Warnings", "duplicate 1 file", "c.mat"]
    order += ["empty-mask 2 files", "a.mat", "b.mat"]
    positions = [seen.index(words) for words in order]
    assert positions == sorted(positions)


def test_when_nothing_is_found_it_says_so(report):
    assert "Nothing was found: no errors and no warnings." in text(report())
    assert "Nothing was found" not in text(report(findings=FINDINGS))


def test_a_file_name_can_not_bring_code_into_the_page(report):
    evil = "<script>alert(1)</script>.mat"
    html = report(
        summary={"per_class": {evil: 1}},
        findings=[Finding("error", evil, "unreadable", f"{evil} is no MATLAB file")],
        thumbnails=[(evil, np.zeros((4, 4, 3), np.uint8))],
    )
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.mat" in html


def test_thumbnails_have_an_alternative_text(report):
    html = report(thumbnails=[("slice 12", np.zeros((8, 8, 3), np.uint8))])
    assert 'alt="slice 12, with the mask outlined"' in html


def test_made_up_data_is_named(report):
    assert "Synthetic phantom data" in text(report(summary={**SUMMARY, "synthetic": True}))
    assert "Synthetic phantom data" not in text(report())
