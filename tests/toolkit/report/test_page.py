"""A report is one file that opens offline, and no file name can slip code into it."""

import base64

import cv2
import numpy as np
import pytest

from toolkit.errors import OutputError
from toolkit.report.page import amount, cell, data_uri, grouped, label, number, write_page


def test_a_picture_travels_inside_the_page():
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[..., 0] = 255
    kind, data = data_uri(rgb).split(",")
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(decoded[..., ::-1], rgb)
    assert data_uri(rgb, ".jpg").startswith("data:image/jpeg;base64,")
    assert data_uri(rgb, ".webp").startswith("data:image/webp;base64,")


def test_what_is_not_known_is_said_and_never_written_as_nan():
    assert number(0.8125) == "0.812"
    assert number(None) == number(float("nan")) == "–"
    assert number(None, missing="unknown") == "unknown"
    assert [cell(value) for value in (None, 0.5, 12, "glioma")] == ["–", "0.500", "12", "glioma"]


def test_keys_are_shown_as_words():
    assert label("patient_groups") == "Patient groups"
    assert label("n_images") == "Images"


def test_the_manifest_is_in_the_footer_with_its_nested_values(tmp_path):
    manifest = {
        "command": "bts-prepare <here>",
        "seed": None,
        "versions": {"keras": "3.13.0"},
        "inputs": [{"file": "a.mat", "sha256": "0f3c"}],
    }
    write_page(tmp_path / "report.html", "base.html.j2", manifest=manifest)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    footer = html[html.index("<footer>") : html.index("</footer>")]
    assert "<details>" in footer
    for text in ("bts-prepare &lt;here&gt;", "3.13.0", "0f3c"):
        assert text in footer


def test_a_file_name_that_is_not_utf8_can_be_reported(tmp_path):
    write_page(tmp_path / "report.html", "base.html.j2", manifest={"input": "scan\udcff.png"})
    assert r"scan\udcff.png" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_where_nothing_can_be_written_the_path_is_named(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(OutputError, match=r"out/report\.html"):
        write_page(tmp_path / "out" / "report.html", "base.html.j2", manifest={})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.1234, "0.123"), (99.96, "100"), (100.4, "100"), (1e4, "10 000"), (-1234567, "-1 234 567")],
)
def test_measures_are_short_but_whole(value, shown):
    assert amount(value).replace("\u202f", " ") == shown


def test_counts_are_grouped():
    assert grouped(np.int64(158084075)) == "158\u202f084\u202f075"
