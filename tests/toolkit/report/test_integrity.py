"""The report of the integrity gate: what is there, what is wrong, or that nothing is."""

import re
from html import unescape
from itertools import pairwise
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from toolkit.data.integrity import Finding
from toolkit.report.integrity import write_integrity_report
from toolkit.report.overview import DatasetOverview

SUMMARY = {
    "kind": "nifti",
    "cases": 30,
    "slices": 12400,
    "patient_groups": 11,
    "slices_per_class": {"glioma": 250, "pituitary": 150},
}
FINDINGS = [
    Finding("warning", "b.mat", "empty-mask", "no tumour is marked; check that this is meant"),
    Finding("error", "z.mat", "mask-shape", "mask does not fit image; leave it out with --skip-bad"),
    Finding("warning", "c.mat", "duplicate", "same pixels as d.mat; remove one"),
    Finding("warning", "a.mat", "empty-mask", "no tumour is marked; check that this is meant"),
]
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def report(tmp_path):
    def write(*cases, findings=(), splits=None, label_map=None, synthetic=False, summary=SUMMARY):
        overview = DatasetOverview()
        for case in cases:
            overview.see(case)
        index = SimpleNamespace(
            synthetic=synthetic,
            label_map=label_map or {"background": 0, "tumour": 1},
            splits=SimpleNamespace(by_patient=splits or {"train": ["p1"], "val": [], "test": []}),
        )
        write_integrity_report(tmp_path / "r.html", summary, index, overview, findings, {"seed": 1})
        return (tmp_path / "r.html").read_text(encoding="utf-8")

    return write


@pytest.fixture
def four_modalities(make_case):
    """A case of four modalities with spacing, and one that lacks the last."""
    known = {"spacing_mm": (5.0, 0.9, 0.9), "plane": "axial", "tumour_type": "glioma"}
    lacking = make_case("b", modalities=4, seed=1, present=(True, True, True, False), **known)
    lacking.images[..., 3] = 0
    return make_case("a", modalities=4, **known), lacking


def text(html):
    html = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def charts(html):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, flags=re.S)]


def test_it_says_what_it_is_and_opens_offline(report, four_modalities):
    html = report(*four_modalities, findings=FINDINGS)
    assert "Research software, not a medical device." in text(html)
    assert not re.search(r"https?:|<link|@import|url\(|<script|(src|href)=\"(?!data:)", html)


def test_the_counts_are_shown_with_their_names(report, make_case):
    seen = text(
        report(
            make_case("a", "p1", 3, tumour_type="glioma"),
            make_case("b", "p2", 4, tumour_type="pituitary", seed=1),
            splits={"train": ["p1"], "val": ["p2"], "test": []},
        )
    )
    assert "Kind nifti Cases 30 Slices 12 400 Patient groups 11 Split by patient" in seen
    assert "Patient groups Cases Slices Glioma Pituitary train 1 1 3 1 0 val 1 1 4 0 1 test 0 0 0 0 0" in seen
    # Of 3 slices the last two have tumour, of 4 the last three: 8 x 12 of 32 x 32 pixels each.
    assert "Patient groups Cases Slices With tumour glioma 1 1 3 2 pituitary 1 1 4 3" in seen
    assert "Pixels Share background 6 688 93.3 % tumour 480 6.7 %" in seen
    assert "Slices with tumour 5 Slices without tumour 2 Share of the slice" in seen
    assert "Slice size (pixels) Cases Slices 32 × 32 2 7" in seen
    assert "Pixel spacing Cases Slices unknown 2 7" in seen


def test_every_modality_is_drawn_on_the_same_axes_and_what_is_missing_is_counted(report, four_modalities):
    html = report(*four_modalities)
    intensities = [svg for svg in charts(html) if "intensity" in svg.get("aria-labelledby")]
    assert [svg.find("title").text.split(":")[0] for svg in intensities] == ["t1c", "t1n", "t2w", "t2f"]
    axes = [
        [(t.get("x"), t.get("y"), t.text) for t in svg.findall("text") if "cut" not in t.text] for svg in intensities
    ]
    assert all(axis == axes[0] for axis in axes)
    assert "Modalities Cases Missing t1c 2 0 t1n 2 0 t2w 2 0 t2f 1 1" in text(html)


def test_tumours_are_measured_in_mm_only_where_spacing_is_known(report, make_case, four_modalities):
    known, unknown = report(*four_modalities), report(make_case())
    assert [svg.find("title").text.split(":")[0] for svg in charts(known)][:3] == [
        "Share of the slice",
        "Largest cross-section",
        "Volume",
    ]
    assert "no case with tumour has a known spacing" in unknown
    assert "no case with tumour has a known spacing" not in known
    # 8 x 12 pixels of 0.81 mm² are 77.8 mm², between 10^1.75 and 10^2.
    assert "56.2 to 100 2" in text(known)


def test_the_charts_can_be_read_without_seeing_them(report, four_modalities):
    html = report(*four_modalities)
    for svg in charts(html):
        title, description = (svg.find(tag) for tag in ("title", "desc"))
        assert svg.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
        assert "bars from" in description.text
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert html.count('<summary class="quiet">Values</summary>') == len(charts(html)) == 7


def test_texts_of_a_chart_neither_overlap_nor_leave_it(report, four_modalities):
    """The drawing is 320 wide, as on a phone; a letter of 11 pixels is about 6.2 wide."""
    for svg in charts(report(*four_modalities)):
        ticks = [t for t in svg.findall("text") if t.get("text-anchor") == "middle" and t.get("class") != "label"]
        spans = [(float(t.get("x")) - 3.1 * len(t.text), float(t.get("x")) + 3.1 * len(t.text)) for t in ticks]
        assert spans[0][0] >= 0
        assert spans[-1][1] <= 320
        assert all(one[1] < other[0] for one, other in pairwise(spans))
        assert all(float(t.get("x")) >= 6.2 * len(t.text) for t in svg.findall("text[@text-anchor='end']"))


def test_errors_come_before_warnings_each_grouped_by_rule(report, make_case):
    seen = text(report(make_case(), findings=FINDINGS))
    order = ["Errors", "mask-shape 1 file", "z.mat", "Warnings", "duplicate 1 file", "c.mat"]
    order += ["empty-mask 2 files", "a.mat", "b.mat"]
    positions = [seen.index(words) for words in order]
    assert positions == sorted(positions)


def test_when_nothing_is_found_it_says_so(report, make_case):
    assert "Nothing was found: no errors and no warnings." in text(report(make_case()))
    assert "Nothing was found" not in text(report(make_case(), findings=FINDINGS))


def test_a_name_can_not_bring_code_into_the_page(report, make_case):
    case = make_case(EVIL, EVIL, tumour_type=EVIL, slice_names=(EVIL,) * 5)
    object.__setattr__(case, "modalities", (EVIL,))
    html = report(
        case,
        findings=[Finding("error", EVIL, EVIL, f"{EVIL} is no MATLAB file")],
        splits={EVIL: [EVIL]},
        label_map={EVIL: 1},
        summary={"kind": EVIL},
    )
    assert "<script" not in html
    for place in ("Kind", "Percentile Lowest Median Highest", "background", "Errors"):
        assert EVIL in text(html)[text(html).index(place) :][:200]


def test_thumbnails_have_an_alternative_text(report, make_case):
    html = report(make_case("scan", tumour_type="glioma"))
    assert 'alt="scan, slice 1, glioma, with the mask outlined"' in html


def test_made_up_data_is_named(report, make_case):
    assert "Synthetic phantom data" in text(report(make_case(), synthetic=True))
    assert "Synthetic phantom data" not in text(report(make_case()))
