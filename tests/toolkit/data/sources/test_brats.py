"""A BraTS folder of any release becomes the same cases with the same labels."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.brats import LABELS, LABELS_SINCE_2023, MODALITIES, brats_files, brats_patient, open_brats
from toolkit.errors import SourceError, UsageError

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
SHAPE = (10, 8, 6)
IMAGES = {m: np.random.default_rng(n).integers(1, 900, SHAPE).astype(np.int16) for n, m in enumerate(MODALITIES)}
TRUTH = np.zeros(SHAPE, np.uint8)
TRUTH[2:8, 2:6, 1:5] = 2
TRUTH[3:6, 3:5, 2:4] = 1
TRUTH[4, 4, 2:4] = 3

ENDS_2017 = {"t1n": "_t1", "t1c": "_t1ce", "t2w": "_t2", "t2f": "_flair", "mask": "_seg"}
ENDS_2023 = {"t1n": "-t1n", "t1c": "-t1c", "t2w": "-t2w", "t2f": "-t2f", "mask": "-seg"}
NAMES_2013 = {"t1n": "XX.O.MR_T1", "t1c": "XX.O.MR_T1c", "t2w": "XX.O.MR_T2", "t2f": "XX.O.MR_Flair", "mask": "XX.O.OT"}


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mha":
        image = sitk.GetImageFromArray(data.transpose(2, 1, 0))
        image.SetSpacing((1.0, 1.0, 3.0))
        sitk.WriteImage(image, str(path))
    else:
        nib.save(nib.Nifti1Image(data, AFFINE), path)


def until_2021(truth):
    return np.where(truth == 3, 4, truth).astype(np.uint8)


def write(folder, release, case, truth=TRUTH, leave_out=()):
    """A case as the release of a year names it; returns the folder of the case."""
    volumes = {**IMAGES, "mask": truth if release >= 2023 else until_2021(truth)}
    for number, (role, data) in enumerate((r, d) for r, d in volumes.items() if r not in leave_out):
        if release < 2017:
            name = f"VSD.Brain{'_3more' if role == 'mask' else ''}.{NAMES_2013[role]}.{54510 + number}"
            save(folder / "HGG" / case / name / f"{name}.mha", data)
        else:
            ends = ENDS_2023 if release >= 2023 else ENDS_2017
            save(folder / case / f"{case}{ends[role]}{'.nii' if release == 2021 else '.nii.gz'}", data)
    return folder / case


def read(folder, modalities=MODALITIES, allow_missing=False):
    gate = IntegrityGate()
    source = open_brats(folder, modalities, gate, allow_missing, None)
    return source, list(source.cases), gate.findings


@pytest.mark.parametrize(
    ("release", "case", "patient"),
    [
        (2013, "brats_2013_pat0103_1", "brats_2013_pat0103"),
        (2015, "brats_tcia_pat105_0001", "brats_tcia_pat105"),
        (2017, "Brats17_TCIA_105_1", "Brats17_TCIA_105"),
        (2018, "Brats18_CBICA_AAM_1", "Brats18_CBICA_AAM"),
        (2020, "BraTS20_Training_001", "BraTS20_Training_001"),
        (2021, "BraTS2021_00000", "BraTS2021_00000"),
        (2023, "BraTS-GLI-00001-000", "BraTS-GLI-00001"),
    ],
)
def test_every_release_is_read_to_the_same_case(tmp_path, release, case, patient):
    write(tmp_path, release, case)
    source, (read_case,), findings = read(tmp_path)
    assert findings == []
    assert (read_case.patient, read_case.modalities, len(source.files)) == (patient, MODALITIES, 5)
    assert brats_patient(case) == patient
    # Slices from below, rows to the back, columns to the left: all affines here are turned x and y only.
    for channel, modality in enumerate(MODALITIES):
        np.testing.assert_array_equal(read_case.images[..., channel], IMAGES[modality].transpose(2, 1, 0))
    np.testing.assert_array_equal(read_case.mask, TRUTH.transpose(2, 1, 0))
    assert read_case.spacing_mm == pytest.approx((3.0, 1.0, 1.0))


def test_the_odd_mask_of_2020_belongs_to_its_case(tmp_path):
    case = write(tmp_path, 2020, "BraTS20_Training_355", leave_out=("mask",))
    save(case / "W39_1998.09.19_Segm.nii", until_2021(TRUTH))
    _, (read_case,), findings = read(tmp_path)
    assert findings == []
    assert read_case.mask.any()


@pytest.mark.parametrize(
    ("stored", "learned", "warned"),
    [
        ([0, 1, 2, 4], [0, 1, 2, 3], False),
        ([0, 1, 2, 3, 4], [0, 1, 2, 1, 3], False),
        ([0, 1, 2, 3], [0, 1, 2, 3], True),
    ],
    ids=["1/2/4", "1/2/3/4 of 2013", "1/2/3 under an old name"],
)
def test_labels_of_old_releases_are_brought_to_one_map(tmp_path, stored, learned, warned):
    case = write(tmp_path, 2021, "BraTS2021_00000", leave_out=("mask",))
    mask = np.resize(np.repeat(stored, 7), SHAPE).astype(np.uint8)
    save(case / "BraTS2021_00000_seg.nii", mask)
    source, (read_case,), findings = read(tmp_path)
    assert source.label_map == LABELS
    one_map = dict(zip(stored, learned, strict=True))
    np.testing.assert_array_equal(read_case.mask, np.vectorize(one_map.get)(mask).transpose(2, 1, 0))
    assert [finding.rule for finding in findings] == (["label-map"] if warned else [])


def test_the_resection_cavity_of_2024_is_a_label_of_its_own(tmp_path):
    truth = TRUTH.copy()
    truth[0, 0, 0] = 4
    write(tmp_path, 2023, "BraTS-GLI-00005-101", truth)
    source, (read_case,), _ = read(tmp_path)
    assert source.label_map == LABELS_SINCE_2023
    assert np.unique(read_case.mask).tolist() == [0, 1, 2, 3, 4]


def test_time_points_of_a_person_are_cases_of_one_patient(tmp_path):
    for point in ("000", "001"):
        write(tmp_path, 2023, f"BraTS-GLI-00001-{point}")
    _, cases, _ = read(tmp_path)
    assert len({case.case for case in cases}) == 2
    assert {case.patient_group for case in cases} == {"BraTS-GLI-00001"}


def test_a_missing_modality_is_an_error_or_zeros(tmp_path):
    write(tmp_path, 2023, "BraTS-GLI-00001-000")
    write(tmp_path, 2023, "BraTS-GLI-00002-000", leave_out=("t2w", "t1n"))
    _, cases, (finding,) = read(tmp_path)
    assert [case.patient for case in cases] == ["BraTS-GLI-00001"]
    assert (finding.weight, finding.rule, Path(finding.file).name) == (
        "error",
        "missing-modality",
        "BraTS-GLI-00002-000",
    )
    assert "has no t1n, t2w" in finding.message
    _, (_, partial), findings = read(tmp_path, allow_missing=True)
    assert partial.present == (False, True, False, True)
    assert not partial.images[..., [0, 2]].any()
    assert not [f for f in findings if f.weight == "error"]


def test_a_case_with_none_of_the_modalities_asked_for_is_left_out_even_so(tmp_path):
    write(tmp_path, 2023, "BraTS-GLI-00001-000")
    write(tmp_path, 2023, "BraTS-GLI-00002-000", leave_out=("t1c", "mask"))
    _, cases, findings = read(tmp_path, ("t1c",), allow_missing=True)
    assert [case.modalities for case in cases] == [("t1c",)]
    assert [finding.rule for finding in findings] == ["missing-modality"]


def test_what_is_no_expert_s_mask_is_none_and_a_bad_file_is_named(tmp_path):
    case = write(tmp_path, 2023, "BraTS-GLI-00001-000", leave_out=("mask",))
    save(case / "BraTS-GLI-00001-000-seg-automatic.nii.gz", TRUTH)
    bad = write(tmp_path, 2023, "BraTS-GLI-00002-000") / "BraTS-GLI-00002-000-t2w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:200])
    _, cases, findings = read(tmp_path)
    assert cases == []
    assert {(finding.rule, Path(finding.file).name) for finding in findings} == {
        ("no-mask", "BraTS-GLI-00001-000-t1c.nii.gz"),
        ("unreadable", bad.name),
    }


def test_what_is_no_brats_says_so(tmp_path):
    with pytest.raises(SourceError, match="no volume in it"):
        read(tmp_path)
    save(tmp_path / "scan.nii.gz", TRUTH)
    with pytest.raises(SourceError, match=r"no file is named as BraTS names them.*--pattern"):
        read(tmp_path)
    with pytest.raises(UsageError, match="pet"):
        read(tmp_path, ("t1c", "pet"))


def test_names_are_told_without_regard_to_case_and_others_are_left_aside():
    names = ["a/X_T1CE.nii.gz", "a/X_Flair.NII", "a/X_seg.nii.gz", "a/X_adc.nii.gz", "a/X-t1.nii.gz", "a/notes.txt"]
    (match,) = brats_files(map(Path, names))
    assert match.files == {"t1c": Path(names[0]), "t2f": Path(names[1]), "mask": Path(names[2])}
