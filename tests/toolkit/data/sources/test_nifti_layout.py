"""Files named the user's way are put together by patterns."""

import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from toolkit.config import LayoutRecipe
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.layout import match_files
from toolkit.data.sources.nifti_layout import open_layout
from toolkit.errors import SourceError, UsageError

SHARED = Path(__file__).parents[4] / "../shared/data"
AFFINE = np.diag([-0.9, -1.1, 5.0, 1.0])
TCIA = LayoutRecipe(images={"t1c": "{patient}/{visit}_Scan_T1.nii.gz"}, mask="{patient}/{visit}_Mask.nii.gz")
LGG = LayoutRecipe(
    images={
        "t1n": "{patient}_{date}/{patient}_{date}_t1.nii.gz",
        "t2f": "{patient}_{date}/{patient}_{date}_flair.nii.gz",
    },
    mask="{patient}_{date}/{patient}_{date}_seg.nii.gz",
)


def matched(patterns, *names):
    folder = Path("/data")
    return [
        (m.fields, {r: f.name for r, f in m.files.items()})
        for m in match_files(folder, map(folder.joinpath, names), patterns)
    ]


def test_a_name_takes_as_much_as_it_can_and_always_means_the_same():
    patterns = {"t1": "{patient}_{date}/{patient}_{date}_t1.nii", "seg": "{patient}_{date}/{patient}_{date}_seg.nii"}
    case = "TCGA_CS_4942_19970222"
    found = matched(patterns, f"{case}/{case}_t1.nii", f"{case}/{case}_seg.nii", f"{case}/TCGA_CS_4943_19970222_t1.nii")
    assert found == [
        ({"patient": "TCGA_CS_4942", "date": "19970222"}, {"t1": f"{case}_t1.nii", "seg": f"{case}_seg.nii"})
    ]


def test_what_is_not_in_braces_is_meant_as_it_is():
    assert matched({"t1": "{patient}(1)+.nii"}, "a(1)+.nii", "a1.nii", "a(1)+xnii") == [
        ({"patient": "a"}, {"t1": "a(1)+.nii"})
    ]
    assert matched({"t1": "{patient}.nii"}, "folder/a.nii") == []


def test_a_file_counts_for_the_pattern_that_says_most_of_it():
    found = matched({"t1c": "{patient}.nii.gz", "mask": "{patient}_seg.nii.gz"}, "p1.nii.gz", "p1_seg.nii.gz")
    assert found == [({"patient": "p1"}, {"t1c": "p1.nii.gz", "mask": "p1_seg.nii.gz"})]


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ({"t1": "{case}.nii"}, r"has no \{patient\}"),
        ({"t1": "{patient}{visit}.nii"}, "needs text between"),
        ({"t1": "{patient}_{visit}.nii", "seg": "{patient}_seg.nii"}, "differ in their placeholders"),
    ],
)
def test_patterns_that_can_not_be_matched_are_wrong_use(patterns, says):
    with pytest.raises(UsageError, match=says):
        matched(patterns, "a.nii")


def test_a_hostile_name_does_not_take_for_ever():
    started = time.monotonic()
    matched({"t1": "{patient}_{a}_{b}_{c}_{patient}.nii"}, "_" * 250 + ".nix", "ab_" * 80 + ".nix")
    assert time.monotonic() - started < 5


@pytest.fixture
def folder(tmp_path):
    """Two patients of one visit each; masks of 0 and 255."""
    for number in (1, 2):
        image = np.random.default_rng(number).integers(0, 900, (10, 8, 6)).astype(np.int16)
        mask = ((image > 500) * 255).astype(np.uint8)
        (tmp_path / f"0{number}").mkdir()
        for name, data in (("Pre_Scan_T1", image), ("Pre_Mask", mask)):
            nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / f"0{number}/{name}.nii.gz")
    return tmp_path


def test_a_mask_of_0_and_255_is_the_one_label_with_a_warning(folder):
    gate = IntegrityGate()
    source = open_layout(folder, TCIA, gate, allow_missing=False, spacing_mm=None)
    cases = list(source.cases)
    assert source.label_map == {"background": 0, "tumour": 1}
    assert [(case.patient, case.case) for case in cases] == [("01", "01-Pre"), ("02", "02-Pre")]
    assert all(((case.images[..., 0] > 500) == case.mask).all() for case in cases)
    assert {finding.rule for finding in gate.findings} == {"mask-values"}


def test_values_that_several_labels_do_not_name_are_an_error(folder):
    layout = TCIA.model_copy(update={"labels": {"core": 1, "oedema": 2}})
    gate = IntegrityGate()
    assert list(open_layout(folder, layout, gate, allow_missing=False, spacing_mm=None).cases) == []
    assert [(f.weight, f.rule) for f in gate.findings] == [("error", "mask-values")] * 2


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"mask": None}, UsageError, "no pattern of the mask"),
        ({"images": {"t1c": "{patient}/{visit}_T9.nii.gz"}}, SourceError, "no file matches the pattern"),
        (
            {"images": {"t1c": "{patient}/{slice}_Scan_T1.nii.gz"}, "mask": "{patient}/{slice}_Mask.nii.gz"},
            UsageError,
            "counts pictures",
        ),
    ],
)
def test_a_layout_that_can_not_be_meant_is_refused(folder, change, error, says):
    with pytest.raises(error, match=says):
        open_layout(folder, TCIA.model_copy(update=change), IntegrityGate(), allow_missing=False, spacing_mm=None)


@pytest.mark.real_scans
@pytest.mark.parametrize(
    ("name", "layout", "n_cases", "n_patients"), [("tcia_progression", TCIA, 4, 2), ("lgg", LGG, 24, 24)]
)
def test_real_folders_are_read_voxel_for_voxel(name, layout, n_cases, n_patients):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no real scans at {SHARED / name}")
    gate = IntegrityGate()
    cases = list(open_layout(SHARED / name, layout, gate, allow_missing=False, spacing_mm=None).cases)
    assert (len(cases), len({case.patient for case in cases})) == (n_cases, n_patients)
    assert all(case.spacing_mm is None and case.plane == "axial" for case in cases)
    assert [f.rule for f in gate.findings].count("placeholder-spacing") == n_cases
    case = cases[0]
    fields = dict(
        zip(("patient", "visit" if name == "tcia_progression" else "date"), case.case.split("-"), strict=True)
    )
    mask = nib.load(SHARED / name / layout.mask.format(**fields))
    image = nib.load(SHARED / name / next(iter(layout.images.values())).format(**fields))
    # Counted by nibabel in its own order: the same voxels, and as many of each label.
    assert np.asarray(image.dataobj).sum() == case.images[..., 0].sum()
    assert np.asarray(mask.dataobj).sum() == case.mask.sum() > 0
    inside = np.asarray(image.dataobj)[np.asarray(mask.dataobj) > 0]
    assert sorted(inside.tolist()) == sorted(case.images[..., 0][case.mask > 0].tolist())
