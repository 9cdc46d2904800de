"""The report of a prediction: what a doctor sees of each case, and what is not claimed."""

import base64
import json
import re
import weakref
from dataclasses import replace
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.report.prediction import PredictedCase, write_prediction_report

MANIFEST = {"command": "bts-predict scan.nii.gz", "seed": 1}


def predicted_case(tmp_path, n_slices=5, **changes):
    """A case whose tumour covers 4, 16 and 9 pixels of the slices 2, 3 and 4 of 5."""
    images = np.random.default_rng(3).normal(500, 100, (n_slices, 32, 40))
    mask = np.zeros((n_slices, 32, 40), np.uint8)
    for i, side in enumerate((0, 2, 4, 3, 0)[:n_slices]):
        mask[i, 10 : 10 + side, 12 : 12 + side] = 1
    area = mask.sum((1, 2))
    case = PredictedCase(
        name="patient-7",
        input_path=Path("scans/patient-7.nii.gz"),
        plane="axial",
        modalities=("t1c", "flair"),
        shown="t1c",
        images=images,
        value_range=(200.0, 800.0),
        highest_probability=np.full(len(mask), 0.91, np.float32),
        mask=mask,
        spacing_mm=(5.0, 0.5, 0.5),
        spacing_is_placeholder=False,
        measures={"area_pixels": area, "area_mm2": area * 0.25, "volume_ml": 0.03625},
        mask_path=tmp_path / "patient-7_mask.nii.gz",
        overlay_path=tmp_path / "patient-7_overlay.png",
    )
    return replace(case, **changes)


def report(tmp_path, *cases):
    write_prediction_report(tmp_path / "report.html", iter(cases), MANIFEST)
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text(html):
    """What a reader sees, without tags, style and script, blanks made one."""
    html = re.sub(r"<(style|script).*?</\1>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def embedded_slices(html):
    return [json.loads(data) for data in re.findall(r'<script type="application/json">(.*?)</script>', html)]


def test_it_says_what_it_is_and_opens_offline(tmp_path):
    html = report(tmp_path, predicted_case(tmp_path))
    assert "Research software, not a medical device." in text(html)
    assert not re.search(r"https?://|<link|@import|src=\"(?!data:)", html)
    assert "bts-predict scan.nii.gz" in text(html)


def test_areas_and_volume_come_with_their_units(tmp_path):
    seen = text(report(tmp_path, predicted_case(tmp_path)))
    assert "Tumour volume 0.04 ml" in seen
    assert "Marked pixels 29" in seen
    assert "Slices with tumour 3 of 5" in seen
    assert "Area, pixels Area, mm² Highest probability 2 4 1.0 0.91 3 16 4.0 0.91 4 9 2.2 0.91" in seen
    assert "5.0 × 0.5 × 0.5 mm" in seen


def test_the_slice_with_the_largest_area_is_shown_first(tmp_path):
    html = report(tmp_path, predicted_case(tmp_path))
    slices = embedded_slices(html)[0]
    assert "3 of 5" in text(html)
    assert f'<img src="{slices[2]["image"]}" alt="patient-7, slice 3 of 5, tumour outlined"' in html
    assert f'<path class="prediction" d="{slices[2]["prediction"]}"/>' in html


def test_every_slice_can_be_reached_and_shows_its_own_image_and_outline(tmp_path):
    case = predicted_case(tmp_path)
    slices = embedded_slices(report(tmp_path, case))[0]
    assert [bool(s["prediction"]) for s in slices] == [False, True, True, True, False]
    for i, entry in enumerate(slices):
        data = base64.b64decode(entry["image"].removeprefix("data:image/jpeg;base64,"))
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        expected = np.clip((case.images[i] - 200) / 600, 0, 1) * 255
        assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.95


def test_truth_can_be_switched_on_only_where_there_is_one(tmp_path):
    case = predicted_case(tmp_path)
    assert 'data-layer="truth"' not in report(tmp_path, case)
    html = report(tmp_path, replace(case, truth=np.roll(case.mask, 1, axis=0)))
    assert 'data-layer="truth"' in html
    assert [bool(s["truth"]) for s in embedded_slices(html)[0]] == [False, False, True, True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {
            "spacing_mm": None,
            "measures": {"area_pixels": [0, 4, 16, 9, 0], "area_mm2": None, "volume_ml": None},
        },
        {"spacing_mm": (1.0, 1.0, 1.0), "spacing_is_placeholder": True},
    ],
    ids=["no spacing", "placeholder spacing"],
)
def test_nothing_in_mm_is_claimed_without_a_measured_spacing(tmp_path, changes):
    seen = text(report(tmp_path, predicted_case(tmp_path, **changes)))
    assert "Tumour volume unknown" in seen
    assert "Spacing unknown" in seen
    assert "3 16 unknown 0.91" in seen
    assert "Marked pixels 29" in seen


def test_a_placeholder_spacing_is_named_as_such(tmp_path):
    case = predicted_case(tmp_path, spacing_mm=(1.0, 1.0, 1.0), spacing_is_placeholder=True)
    assert "the file's 1.0 × 1.0 × 1.0 mm is a placeholder" in text(report(tmp_path, case))


def test_pixels_that_are_not_square_are_shown_in_their_true_shape(tmp_path):
    html = report(tmp_path, predicted_case(tmp_path, spacing_mm=(5.0, 1.0, 0.5)))
    assert "aspect-ratio: 0.625" in html  # 40 columns of 0.5 mm by 32 rows of 1 mm.


def test_no_tumour_is_said_in_words_and_the_middle_slice_is_shown(tmp_path):
    empty = np.zeros((5, 32, 40), np.uint8)
    measures = {"area_pixels": [0] * 5, "area_mm2": [0.0] * 5, "volume_ml": 0.0}
    case = predicted_case(tmp_path, mask=empty, measures=measures)
    html = report(tmp_path, case)
    assert "No tumour was marked in any slice." in text(html)
    assert 'alt="patient-7, slice 3 of 5, no tumour marked"' in html


def test_a_lone_picture_has_no_slice_slider(tmp_path):
    html = report(tmp_path, predicted_case(tmp_path, n_slices=1, measures={"area_pixels": [0]}))
    assert 'class="slice"' not in html
    assert 'class="opacity"' in html


def test_a_file_name_can_not_bring_code_into_the_page(tmp_path):
    evil = '"><script>alert(1)</script>'
    html = report(
        tmp_path,
        predicted_case(
            tmp_path,
            name=evil,
            input_path=Path(f"scans/{evil}"),
            modalities=(evil,),
            mask_path=tmp_path / "javascript:alert(1)",
        ),
    )
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert 'href="javascript:' not in html


def test_links_work_when_the_folder_is_moved(tmp_path):
    html = report(tmp_path, predicted_case(tmp_path, mask_path=tmp_path / "masks" / "a b.png"))
    assert 'href="masks/a%20b.png"' in html
    assert str(tmp_path) not in html


def test_made_up_data_is_named_above_the_case_and_drawn_onto_every_slice(tmp_path):
    case = predicted_case(tmp_path)
    real, synthetic = report(tmp_path, case), report(tmp_path, replace(case, synthetic=True))
    assert "Synthetic phantom data" not in real
    assert "Synthetic phantom data" in text(synthetic)
    for plain, labelled in zip(embedded_slices(real)[0], embedded_slices(synthetic)[0], strict=True):
        assert plain["image"] != labelled["image"]


def test_long_cases_are_shown_smaller(tmp_path):
    def longest_side(n_slices):
        case = predicted_case(
            tmp_path,
            images=np.zeros((n_slices, 600, 300), np.uint8),
            mask=np.zeros((n_slices, 600, 300), np.uint8),
            highest_probability=np.zeros(n_slices, np.float32),
            measures={"area_pixels": [0] * n_slices},
        )
        data = embedded_slices(report(tmp_path, case))[0][0]["image"].removeprefix("data:image/jpeg;base64,")
        return max(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 0).shape)

    assert longest_side(2) == 512
    assert longest_side(65) == 384


def test_cases_are_let_go_as_they_are_written(tmp_path):
    """So that a folder of volumes fits in memory: at the third case the first is gone."""
    taken = []

    def cases():
        for name in ("first", "second", "third"):
            case = predicted_case(tmp_path, name=name)
            taken.append(weakref.ref(case))
            yield case
            del case
        assert taken[0]() is None

    write_prediction_report(tmp_path / "report.html", cases(), MANIFEST)
    assert len(taken) == 3


def test_a_failure_half_way_leaves_no_half_report(tmp_path):
    def cases():
        yield predicted_case(tmp_path)
        raise RuntimeError("the second can't be read")

    with pytest.raises(RuntimeError, match="second"):
        write_prediction_report(tmp_path / "report.html", cases(), MANIFEST)
    assert list(tmp_path.iterdir()) == []


def test_several_cases_end_in_a_table_that_links_to_each(tmp_path):
    html = report(
        tmp_path,
        predicted_case(tmp_path, name="first"),
        predicted_case(tmp_path, name="second", spacing_mm=None),
    )
    table = html[html.index('id="summary"') :]
    assert '<a href="#case-1">first</a>' in table
    assert '<a href="#case-2">second</a>' in table
    assert "first 3 of 5 29 0.04 second 3 of 5 29 unknown" in text(table)
    assert 'id="case-2"' in html


def test_no_case_at_all_is_said(tmp_path):
    assert "There was no case to predict." in text(report(tmp_path))


def test_several_regions_have_a_row_each_and_the_modality_shown_is_named(tmp_path):
    regions = {
        "whole_tumour": {"total_pixels": 29, "volume_ml": 0.036},
        "tumour_core": {"total_pixels": 7, "volume_ml": None},
    }
    measures = {**predicted_case(tmp_path).measures, "regions": regions}
    seen = text(report(tmp_path, predicted_case(tmp_path, measures=measures)))
    assert "Whole tumour 29 0.04" in seen
    assert "Tumour core 7 unknown" in seen
    assert "t1c, flair (t1c is shown)" in seen
    assert "Regions" not in text(report(tmp_path, predicted_case(tmp_path)))
