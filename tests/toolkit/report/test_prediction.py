"""The report of a prediction: what a doctor sees of each case, and what is not claimed."""

import json
import pickle
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from toolkit.report.prediction import case_page, index_row, thumbnail_pixels, write_case, write_index

MANIFEST = {"command": "bts-predict scan.nii.gz", "seed": 1}


def page(tmp_path, case):
    """The page of a lone case."""
    write_case(tmp_path / "report.html", case, MANIFEST)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def index(tmp_path, *cases, failed=()):
    report = tmp_path / "report.html"
    for case in cases:
        write_case(case_page(report, case.name), case, MANIFEST, report)
    write_index(report, [index_row(report, case, 128) for case in cases], failed, MANIFEST)
    assert not list(tmp_path.rglob("*partial*"))
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text(html):
    """What a reader sees, without tags, style and script, blanks made one."""
    html = re.sub(r"<(style|script).*?</\1>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_it_says_what_it_is_and_opens_offline(tmp_path, predicted_case):
    for html in (page(tmp_path, predicted_case()), index(tmp_path, predicted_case())):
        assert "Research software, not a medical device." in text(html)
        assert "default-src 'none'" in html
        assert not re.search(r"https?://|<link|@import|eval\(|src=\"(?!data:)", html)
        assert "bts-predict scan.nii.gz" in text(html)


def test_measures_come_with_their_units(tmp_path, predicted_case):
    seen = text(page(tmp_path, predicted_case()))
    assert "Tumour volume 0.04 ml" in seen
    assert "Lesions 1" in seen
    assert "Slices with tumour 3 of 5" in seen
    assert "Area, pixels Area, mm² Highest probability 2 4 1.0 0.91 3 16 4.0 0.91 4 9 2.2 0.91" in seen
    assert "5.0 × 0.5 × 0.5 mm" in seen


def test_several_regions_have_a_column_each_and_the_modality_shown_is_named(tmp_path, predicted_case):
    regions = {
        "whole_tumour": {"total_pixels": 29, "volume_ml": 0.036, "diameter_slice_index": 2, "side": "left"},
        "tumour_core": {"total_pixels": 7, "volume_ml": None, "diameter_slice_index": None, "side": "left"},
    }
    case = predicted_case()
    seen = text(page(tmp_path, predicted_case(measures={**case.measures, "side": "left", "regions": regions})))
    assert "Tumour Whole tumour Tumour core" in seen
    assert "Volume, ml 0.04 0.04 unknown" in seen
    assert "Pixels 29 29 7" in seen
    assert "Slice of these diameters unknown 3 unknown" in seen
    assert "Side of the patient left left left" in seen
    assert "t1c, flair (t1c is shown)" in seen
    assert "Side of the patient" not in text(page(tmp_path, case))


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing_mm": None},
        {"spacing_mm": (1.0, 1.0, 1.0), "spacing_is_placeholder": True},
    ],
    ids=["no spacing", "placeholder spacing"],
)
def test_nothing_in_mm_is_claimed_without_a_measured_spacing(tmp_path, predicted_case, changes):
    measures = {**predicted_case().measures, "largest_diameter_mm": 31.0}
    seen = text(page(tmp_path, predicted_case(measures=measures, **changes)))
    assert "Tumour volume unknown" in seen
    assert "Volume, ml unknown" in seen
    assert "Largest diameter in a slice, mm unknown" in seen
    assert "Spacing unknown" in seen
    assert "3 16 unknown 0.91" in seen
    assert "Marked pixels 29" in seen
    assert "unknown" in text(index(tmp_path, predicted_case(**changes)))


def test_a_placeholder_spacing_is_named_as_such(tmp_path, predicted_case):
    case = predicted_case(spacing_mm=(1.0, 1.0, 1.0), spacing_is_placeholder=True)
    assert "the file's 1.0 × 1.0 × 1.0 mm is a placeholder" in text(page(tmp_path, case))


def test_left_and_right_are_told_only_where_the_file_tells_them(tmp_path, predicted_case):
    axial = page(tmp_path, predicted_case())
    assert "the patient's right at the left, anterior at the top" in text(axial)
    assert re.findall(r'class="edge (\w+)" aria-hidden="true">(\w)<', axial) == [
        ("left", "R"),
        ("right", "L"),
        ("top", "A"),
        ("bottom", "P"),
    ]
    unknown = page(tmp_path, predicted_case(plane="unknown"))
    assert "Left and right can't be told" in text(unknown)
    assert 'class="edge' not in unknown


def test_a_toggle_for_each_layer_and_none_for_what_is_not_there(tmp_path, predicted_case):
    case = predicted_case()
    names = ("Uncertainty", "Grad-CAM", "Enhanced image", "Truth")
    lone = page(tmp_path, case)
    assert lone.count("data-layer=") == 1
    assert not any(name in text(lone) for name in names)
    maps = np.zeros(case.mask.shape, np.uint8)
    full = predicted_case(
        truth=case.mask, maps={"uncertainty": maps, "grad_cam": maps}, enhanced=maps, uncertainty_score=0.25
    )
    html = page(tmp_path, full)
    assert html.count("data-layer=") == 5
    assert all(name in text(html) for name in names)
    assert "Review score 0.250" in text(html)


def test_intensities_of_the_case_and_of_what_is_marked(tmp_path, predicted_case):
    seen = text(page(tmp_path, predicted_case()))
    assert "All pixels" in seen
    assert "Marked pixels: Pixels (%) by Intensity of t1c, as stored" in seen


def test_no_tumour_is_said_in_words(tmp_path, predicted_case):
    measures = {"area_pixels": [0] * 5, "area_mm2": [0.0] * 5, "volume_ml": 0.0}
    seen = text(page(tmp_path, predicted_case(mask=np.zeros((5, 32, 40), np.uint8), measures=measures)))
    assert "No tumour was marked in any slice." in seen
    assert "Marked pixels: Pixels (%)" not in seen


def test_without_scripts_there_is_a_picture(tmp_path, predicted_case):
    html = page(tmp_path, predicted_case())
    still = re.search(r"<noscript>(.*?)</noscript>", html, flags=re.S).group(1)
    assert '<img src="data:image/jpeg' in still
    assert 'alt="patient-7, slice 3 of 5' in still


def test_a_lone_picture_has_no_slice_slider(tmp_path, predicted_case):
    html = page(tmp_path, predicted_case(n_slices=1, measures={"area_pixels": [0]}))
    assert 'id="slice"' not in html
    assert 'id="opacity"' in html


def test_what_is_left_out_to_keep_the_file_small_is_said(tmp_path, predicted_case):
    def seen(shape):
        mask = np.zeros(shape, np.uint8)
        measures = {"area_pixels": [0] * len(mask)}
        case = predicted_case(
            images=mask, mask=mask, measures=measures, highest_probability=np.zeros(len(mask), np.float32)
        )
        return text(page(tmp_path, case))

    assert "To keep this file small" not in seen((3, 20, 20))
    assert "it holds all slices, pictures of 512 × 128 pixels" in seen((3, 150, 600))
    assert "it holds 160 of 200 slices" in seen((200, 20, 20))


@pytest.mark.parametrize(
    ("unlikeness", "warned", "told"), [(1.4, True, True), (0.4, False, True), (None, False, False)]
)
def test_a_scan_unlike_the_training_scans_has_a_banner(tmp_path, predicted_case, unlikeness, warned, told):
    seen = text(page(tmp_path, predicted_case(unlikeness=unlikeness)))
    assert ("This scan is unlike those the model has learned from" in seen) == warned
    assert ("Unlike the training scans" in seen) == told


def test_a_mask_of_noise_makes_no_huge_page_and_what_is_not_drawn_is_said(tmp_path, predicted_case):
    noise = np.random.default_rng(1).integers(0, 4, (160, 128, 128)).astype(np.uint8)
    labels = {"necrosis": 1, "oedema": 2, "enhancing": 3}
    case = predicted_case(160, images=np.zeros(noise.shape), mask=noise, labels=labels)
    seen = page(tmp_path, case)
    assert len(seen) < 20e6
    (left_out,) = re.findall(r"the outlines of (\d+) are not drawn", text(seen))
    assert int(left_out) > 1e4
    assert "not drawn" not in text(page(tmp_path, predicted_case()))


def test_a_file_name_can_not_bring_code_into_the_page(tmp_path, predicted_case):
    evil = '"><img src=x onerror=alert(1)><!--<script>'
    case = predicted_case(
        name=evil,
        input_path=Path(f"scans/{evil}</script>"),
        modalities=(evil,),
        shown=evil,
        labels={evil: 1, "</script>": 2},
        mask_path=tmp_path / "javascript:alert(1)",
    )
    for html in (page(tmp_path, case), index(tmp_path, case)):
        assert "<img src=x" not in html
        assert "&lt;img src=x" in html
        assert 'href="javascript:' not in html
    html = page_of(tmp_path, evil)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, flags=re.S).group(1)
    assert "<" not in data
    assert json.loads(data)["name"] == evil
    assert html.count("<script") == html.count("</script>") == 2


def page_of(tmp_path, name):
    return (tmp_path / "cases" / f"{name}.html").read_text(encoding="utf-8")


def test_links_work_when_the_folder_is_moved(tmp_path, predicted_case):
    case = predicted_case(mask_path=tmp_path / "masks" / "a b.png")
    html = page(tmp_path, case)
    assert 'href="masks/a%20b.png"' in html
    assert str(tmp_path) not in html
    index(tmp_path, case)
    assert 'href="../masks/a%20b.png"' in page_of(tmp_path, "patient-7")


def test_made_up_data_is_named(tmp_path, predicted_case):
    assert "Synthetic phantom data" not in page(tmp_path, predicted_case())
    case = predicted_case(synthetic=True)
    assert "Synthetic phantom data" in text(page(tmp_path, case))
    assert 'alt="Synthetic phantom data' in index(tmp_path, case)


def test_several_cases_have_an_index_that_links_to_a_page_each_and_back(tmp_path, predicted_case):
    html = index(tmp_path, predicted_case(name="first"), predicted_case(name="second", spacing_mm=None))
    for name in ("first", "second"):
        assert f'<a href="cases/{name}.html"><img src="data:image/webp' in html
        assert '<a href="../report.html">All cases</a>' in page_of(tmp_path, name)
    assert "first 0.04 29 1 3 of 5 second unknown 29 1 3 of 5" in text(html)
    assert "Uncertainty" not in html


def test_the_index_has_a_column_for_the_uncertainty_where_there_is_one(tmp_path, predicted_case):
    cases = [predicted_case(name=f"case-{i}", uncertainty_score=score) for i, score in enumerate((0.3, None))]
    html = index(tmp_path, *cases)
    assert '<td class="figure" data-value="0.3">0.300</td>' in html
    assert '<td class="figure" data-value="">–</td>' in html


def test_those_to_look_at_first_are_on_top_and_the_unknown_last(tmp_path, predicted_case):
    scores = {"sure": 0.1, "unknown": None, "worst": 0.8, "also worst": 0.8}
    html = index(tmp_path, *(predicted_case(name=name, uncertainty_score=score) for name, score in scores.items()))
    order = re.findall(r'<span class="name">(.*?)</span>', html)
    assert order == ["worst", "also worst", "sure", "unknown"]
    assert re.findall(r'<th[^>]* aria-sort="(\w+)"[^>]*>([^<]*)<', html) == [("descending", "Look first")]


def test_what_could_not_be_read_is_listed_with_its_reason(tmp_path, predicted_case):
    html = index(tmp_path, predicted_case(), failed=[("in/<b>.png", "in/<b>.png: damaged")])
    assert "Could not be read Scan Why in/<b>.png in/<b>.png: damaged" in text(html)
    assert "<b>" not in html
    assert "Could not be read" not in index(tmp_path, predicted_case())


def test_a_row_of_the_index_holds_no_pixels_of_its_case(tmp_path, predicted_case):
    """So that a run of thousands of cases keeps thousands of rows, not of volumes."""
    case = predicted_case(n_slices=1, images=np.zeros((1, 512, 512)), mask=np.zeros((1, 512, 512), np.uint8))
    row = index_row(tmp_path / "report.html", case, 48)
    assert len(pickle.dumps(row)) < 2000
    assert all(isinstance(value, str | int | float | None) for value in row.values())


def test_thumbnails_of_many_cases_are_smaller():
    assert thumbnail_pixels(500) > thumbnail_pixels(501) == thumbnail_pixels(10_000)


def test_no_case_at_all_is_said(tmp_path):
    assert "There was no case to predict." in text(index(tmp_path))
