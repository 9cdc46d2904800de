"""The plane of a sequence, told from its slices: against labels made by eye, and on synthetic heads."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.data.sources.figshare import read_slice
from toolkit.data.sources.figshare_planes import name_plane, plane_features
from toolkit.data.sources.figshare_runs import thumbnail
from toolkit.data.sources.phantom import phantom_cases

ROOT = Path(__file__).parents[4]
SLICES = ROOT / "../shared/data/figshare/slices"
needs_real_scans = pytest.mark.skipif(not SLICES.is_dir(), reason=f"no real scans in {SLICES}")


def plane_of(images):
    return name_plane([thumbnail(image) for image in images])


def features_of(picture):
    return plane_features([picture.astype(np.float32)])


@pytest.fixture(scope="module")
def scans():
    return [(case.plane, case.images[..., 0]) for case in phantom_cases(6, seed=0, size=96, slices=6)]


def test_synthetic_heads_it_was_not_made_from(scans):
    named = Counter((plane, plane_of(images)) for plane, images in scans)
    assert sum(count for (plane, name), count in named.items() if plane == name) >= 16  # of 18
    assert all(named[plane, plane] >= 5 for plane in ("axial", "coronal", "sagittal"))


def test_values_and_size_of_a_picture_do_not_matter(scans):
    for _, images in scans[:3]:
        larger = [cv2.resize(image, (192, 192), interpolation=cv2.INTER_NEAREST) for image in images]
        assert plane_of(images) == plane_of(larger) == plane_of(images * 0.01 - 7.0)


def test_what_shows_no_head_is_unknown():
    assert plane_of([np.zeros((64, 64), np.int16), np.full((30, 40), 7)]) == "unknown"


def test_blank_slices_say_nothing(scans):
    plane, images = scans[0]
    assert plane_of([*images, np.zeros_like(images[0])]) == plane_of(images) == plane


def test_mirror_sees_a_half_that_is_unlike_the_other():
    """An upright triangle is its own mirror image, tilted by 10 degrees still; one with its tip to the left is not."""
    upright, to_the_left = np.zeros((2, 64, 64), np.float32)
    cv2.fillPoly(upright, [np.array([[32, 8], [10, 50], [54, 50]])], 1.0)
    cv2.fillPoly(to_the_left, [np.array([[8, 32], [50, 10], [50, 54]])], 1.0)
    tilted = cv2.warpAffine(upright, cv2.getRotationMatrix2D((32, 32), 10, 1.0), (64, 64))
    assert features_of(upright)[0] > 0.95
    assert features_of(tilted)[0] > 0.9
    assert features_of(to_the_left)[0] < 0.6


def test_lower_edge_foot_and_aspect_of_a_head_with_a_neck():
    """A head of 20 x 40 pixels in which the neck, the lowest sixth and half as wide, leaves the picture."""
    picture = np.zeros((64, 64), np.float32)
    picture[24:58, 22:42] = 1.0
    picture[58:64, 27:37] = 1.0
    _, lower_edge, foot, aspect = features_of(picture)
    assert lower_edge == pytest.approx(10 / 64)
    assert foot == pytest.approx(0.5)
    assert aspect == pytest.approx(2.0)


@pytest.mark.real_scans
@needs_real_scans
def test_names_agree_with_an_eye_on_thirty_patients_kept_for_this_check():
    """At least as often as the low ends of the intervals in docs/reference/figshare-runs.md say."""
    with (ROOT / "docs/results/figshare_runs_by_eye.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["draw"] == "check"]
    pairs = []
    for row in rows:
        numbers = range(int(row["first_file"]), int(row["last_file"]) + 1)
        pairs.append((row["plane"], plane_of([read_slice(SLICES / f"{number}.mat").image for number in numbers])))
    assert len(pairs) == 88
    named = [(eye, name) for eye, name in pairs if name != "unknown"]
    assert sum(eye == name for eye, name in pairs) / len(pairs) >= 0.871
    assert sum(eye == name for eye, name in named) / len(named) >= 0.959
