"""The phantoms must be fair practice: plain to the eye, alike in every plane, no prey for a threshold."""

from __future__ import annotations

from itertools import islice, permutations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.measure import euler_number, label

from toolkit.data.case import Case
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.sources.phantom import phantom_cases
from toolkit.errors import UsageError

SIZE, SLICES = 64, 8


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(phantom_cases(12, seed=3, size=SIZE, slices=SLICES))


def of_type(cases: list[Case], tumour_type: str) -> list[Case]:
    return [case for case in cases if case.tumour_type == tumour_type]


def normalised(case: Case) -> np.ndarray:
    return normalise(case.images, intensity_range(case.images))[..., 0]


def world_mm(case: Case, voxels: np.ndarray) -> np.ndarray:
    return voxels @ case.affine[:3, :3].T + case.affine[:3, 3]


def same(first: Case, second: Case) -> bool:
    return (
        first.case == second.case
        and np.array_equal(first.images, second.images)
        and np.array_equal(first.mask, second.mask)
        and np.array_equal(first.affine, second.affine)
    )


def test_the_same_seed_gives_the_same_patients_and_another_seed_others():
    first, again = (list(phantom_cases(2, seed=5, size=32, slices=3)) for _ in range(2))
    other = list(phantom_cases(2, seed=6, size=32, slices=3))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_a_patient_does_not_depend_on_how_many_are_asked_for():
    few = list(phantom_cases(2, seed=5, size=32, slices=3))
    many = list(phantom_cases(5, seed=5, size=32, slices=3))
    assert all(same(a, b) for a, b in zip(few, many, strict=False))
    assert len({case.images.tobytes() for case in many}) == 15


def test_cases_are_made_one_at_a_time():
    endless = phantom_cases(10**9, seed=5, size=16, slices=1)
    assert [case.case for case in islice(endless, 2)] == ["phantom-0000-axial", "phantom-0000-coronal"]


def test_every_patient_is_seen_in_three_planes_and_says_it_is_synthetic(cases):
    assert [case.plane for case in cases[:3]] == ["axial", "coronal", "sagittal"]
    assert {case.case for case in cases} == {
        f"phantom-{k:04d}-{plane}" for k in range(12) for plane in ("axial", "coronal", "sagittal")
    }
    for case in cases:
        assert case.synthetic
        assert case.patient == case.case.rsplit("-", 1)[0]
        assert case.modalities == ("t1c",)
        assert case.images.dtype == np.int16
        assert case.images.shape == (SLICES, SIZE, SIZE, 1)
        assert set(np.unique(case.mask)) == {0, 1}


def test_the_affine_says_which_way_the_plane_looks(cases):
    along = {"axial": "SPL", "coronal": "AIL", "sagittal": "RIP"}
    for case in cases[:3]:
        named = "".join(
            ("RAS" if column[np.abs(column).argmax()] > 0 else "LPI")[np.abs(column).argmax()]
            for column in case.affine[:3, :3].T
        )
        assert named == along[case.plane]
        np.testing.assert_allclose(np.linalg.norm(case.affine[:3, :3], axis=0), case.spacing_mm)
        assert case.spacing_mm[1:] == pytest.approx((3.6, 3.6))  # 230.4 mm over 64 pixels


def test_the_three_planes_show_one_and_the_same_tumour(cases):
    for k in range(0, len(cases), 3):
        views = cases[k : k + 3]
        centroids = [world_mm(case, np.argwhere(case.mask)).mean(axis=0) for case in views]
        volumes = [case.mask.sum() * np.prod(case.spacing_mm) for case in views]
        for a, b in permutations(range(3), 2):
            assert np.linalg.norm(centroids[a] - centroids[b]) < 3.6
            assert volumes[a] == pytest.approx(volumes[b], rel=0.1)


def test_where_two_planes_cross_they_show_the_same_head(cases):
    """Voxels of the axial stack that the sagittal stack also saw, noise and slice thickness apart."""
    axial, _, sagittal = cases[:3]
    centre = np.argwhere(axial.mask).mean(axis=0).round()
    rows, columns = np.meshgrid(np.arange(8, 56), np.arange(8, 56), indexing="ij")
    seen = np.stack([np.full(rows.shape, centre[0]), rows, columns], axis=-1).reshape(-1, 3)
    to_sagittal = np.linalg.inv(sagittal.affine)
    there = world_mm(axial, seen) @ to_sagittal[:3, :3].T + to_sagittal[:3, 3]
    near = np.abs(there[:, 0] - there[:, 0].round()) < 0.2
    in_stack = (there.round() >= 0).all(1) & (there.round() < [SLICES, SIZE, SIZE]).all(1)
    here, there = seen[near & in_stack].astype(int), there[near & in_stack].round().astype(int)
    assert len(here) > 90
    pair = [normalised(axial)[tuple(here.T)], normalised(sagittal)[tuple(there.T)]]
    assert np.corrcoef(pair)[0, 1] > 0.7


def test_neighbouring_slices_are_more_alike_than_distant_ones(cases):
    for case in cases:
        pictures = normalised(case).reshape(SLICES, -1)
        alike = np.corrcoef(pictures)
        apart = {gap: np.diagonal(alike, gap).mean() for gap in (1, 3, 6)}
        assert apart[1] > max(apart[3], apart[6]), case.case


def test_most_slices_show_tumour_but_not_all(cases):
    empty = np.mean([not picture.any() for case in cases for picture in case.mask])
    assert 0.1 < empty < 0.3
    assert all(case.mask.any(axis=(1, 2)).sum() >= 6 for case in cases)


def test_tumours_are_large_enough_to_be_seen(cases):
    largest = [case.mask.sum(axis=(1, 2)).max() for case in cases]
    assert min(largest) >= 25


def test_no_global_threshold_finds_the_tumours(cases):
    """The best of all thresholds, chosen with the truth at hand, on pictures that show tumour."""
    pictures = np.concatenate([normalised(case) for case in cases])
    truth = np.concatenate([case.mask for case in cases]) > 0
    pictures, truth = pictures[truth.any(axis=(1, 2))], truth[truth.any(axis=(1, 2))]
    sizes = truth.sum(axis=(1, 2))
    best = 0.0
    for threshold in np.linspace(0.0, 1.5, 76):
        for found in (pictures > threshold, pictures < threshold):
            dice = 2 * (found & truth).sum(axis=(1, 2)) / (found.sum(axis=(1, 2)) + sizes)
            best = max(best, dice.mean())
    assert 0.05 < best <= 0.5


def test_every_tumour_stands_out_from_what_surrounds_it(cases):
    """The outermost 4 mm of the tumour against the 4 mm outside: a border the eye can follow."""
    for case in cases:
        tumour, pictures = case.mask > 0, normalised(case)
        cross = np.zeros((3, 3, 3), bool)
        cross[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        inner = tumour & ~binary_erosion(tumour, cross)
        outer = binary_dilation(tumour, cross, iterations=2) & ~binary_dilation(tumour, cross)
        assert pictures[inner].mean() - pictures[outer].mean() > 0.1, case.case


def test_meningiomas_are_even_and_gliomas_are_rings_around_a_dark_core(cases):
    def spread_and_core(case: Case) -> tuple[float, float]:
        pictures, inside = normalised(case), binary_erosion(case.mask > 0, np.ones((1, 3, 3)))
        middle = pictures[case.mask.sum(axis=(1, 2)).argmax()]
        core = binary_erosion(case.mask[case.mask.sum(axis=(1, 2)).argmax()] > 0, iterations=3)
        return pictures[inside].std(), middle[core].mean()

    meningioma = np.array([spread_and_core(case) for case in of_type(cases, "meningioma")])
    glioma = np.array([spread_and_core(case) for case in of_type(cases, "glioma")])
    assert meningioma[:, 0].max() < glioma[:, 0].min()
    assert meningioma[:, 1].min() > 0.6 > 0.45 > glioma[:, 1].mean()


def test_the_mask_is_the_whole_tumour_in_one_piece_without_holes(cases):
    for case in of_type(cases, "glioma"):
        picture = case.mask[case.mask.sum(axis=(1, 2)).argmax()]
        assert label(picture, connectivity=2).max() == 1
        assert euler_number(picture, connectivity=2) == 1


def test_pituitary_tumours_are_small_and_near_the_midline(cases):
    def volume_ml(case: Case) -> float:
        return case.mask.sum() * np.prod(case.spacing_mm) / 1000

    pituitary = of_type(cases, "pituitary")
    others = [case for case in cases if case.tumour_type != "pituitary"]
    assert np.mean([volume_ml(c) for c in pituitary]) < 0.6 * np.mean([volume_ml(c) for c in others])
    for case in pituitary:
        right, _, superior = world_mm(case, np.argwhere(case.mask)).mean(axis=0)
        assert abs(right) < 15
        assert -40 < superior < 0


def test_absolute_numbers_mean_nothing(cases):
    """Each scanner has its own gain: the same tissue is several times as bright on one as on another."""
    tissue = [np.percentile(case.images, 90) for case in cases[::3]]
    assert max(tissue) > 3 * min(tissue)


@pytest.mark.parametrize("slices", [1, 2, 13])
def test_any_number_of_slices_shows_tumour(slices):
    for case in phantom_cases(3, seed=1, size=32, slices=slices):
        assert case.n_slices == slices
        assert case.mask.any()


@pytest.mark.parametrize(("wrong", "name"), [((0, 1), "n_patients"), ((1, -1), "seed"), ((1, 1, 8), "size")])
def test_wrong_arguments_are_refused_at_once(wrong, name):
    with pytest.raises(UsageError, match=name):
        phantom_cases(*wrong)
