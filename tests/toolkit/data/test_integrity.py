"""The gate says what is wrong with a data set, and does not cry wolf."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.figshare import figshare_cases, read_slice, slice_files
from toolkit.data.sources.phantom import phantom_cases
from toolkit.errors import IntegrityError

SHARED = Path(__file__).parents[3] / "../shared/data/figshare/slices"


@pytest.fixture
def gate():
    return IntegrityGate()


@pytest.fixture
def mask():
    tumour = np.zeros((48, 48), np.uint8)
    tumour[20:30, 22:30] = 1
    return tumour


def found(gate):
    return [(finding.weight, Path(finding.file).name, finding.rule) for finding in gate.findings]


def test_a_good_data_set_has_no_findings(gate, head, mask):
    for number in range(20):
        gate.see_patient(Path(f"{number}.mat"), f"p{number}", f"p{number}")
        assert gate.check_slice(Path(f"{number}.mat"), head(number), mask, f"p{number}")
    assert gate.finish(skip_bad=False) == []


def test_the_same_picture_of_another_patient(gate, head, mask):
    gate.check_slice(Path("1.mat"), head(1), mask, "anna")
    assert gate.check_slice(Path("2.mat"), head(1), mask, "berta")
    (finding,) = gate.finish(skip_bad=False)
    assert (finding.weight, finding.file, finding.rule) == ("warning", "2.mat", "duplicate")
    assert finding.message == "the same picture as 1.mat of another patient, anna"


def test_the_same_picture_of_the_same_patient(gate, head, mask):
    for name in ("1.mat", "2.mat"):
        gate.check_slice(Path(name), head(1), mask, "anna")
    (finding,) = gate.finish(skip_bad=False)
    assert finding.message.endswith("1.mat of the same patient")


@pytest.mark.parametrize("how", ["noise", "jpeg", "another range", "half size"])
def test_a_re_encoded_copy_is_found(gate, head, how):
    for number in range(10):
        gate.check_slice(Path(f"{number}.mat"), head(number, (96, 96)), None, f"p{number}")
    copy = head(4, (96, 96))
    if how == "noise":
        copy = copy + np.random.default_rng(0).integers(-2, 3, copy.shape).astype(copy.dtype)
    elif how == "jpeg":
        copy = cv2.imdecode(cv2.imencode(".jpg", copy.astype(np.uint8))[1], cv2.IMREAD_GRAYSCALE)
    elif how == "another range":
        copy = 16 * copy + 100
    else:
        copy = cv2.resize(copy, (48, 48), interpolation=cv2.INTER_AREA)
    gate.check_slice(Path("copy.mat"), copy, None, "berta")
    (finding,) = gate.finish(skip_bad=False)
    assert (finding.file, finding.rule) == ("copy.mat", "near-duplicate")
    assert finding.message == "almost the same picture as 4.mat of another patient, p4"


def test_copies_are_found_however_many_pictures_lie_between(gate, head, mask):
    """Pictures are compared some hundred rows at a time; a pair may lie in one block or in two."""
    noise = np.random.default_rng(0).integers(-2, 3, (48, 48)).astype(np.int16)
    for number in range(1200):
        copy_of = {600: 3, 601: 599, 1199: 1198}.get(number)
        image = head(number) if copy_of is None else head(copy_of) + noise
        gate.check_slice(Path(f"{number}.mat"), image, mask, f"p{number}")
    pairs = {(f.file, f.message.split(" of ")[0].split(" as ")[1]) for f in gate.finish(skip_bad=False)}
    assert pairs == {("600.mat", "3.mat"), ("601.mat", "599.mat"), ("1199.mat", "1198.mat")}


def test_neighbouring_slices_of_a_phantom_are_no_copies(gate):
    for case in phantom_cases(2, seed=0, size=64):
        for index in range(case.n_slices):
            gate.check_slice(Path(f"{case.case}-{index}"), case.images[index, ..., 0], case.mask[index], case.patient)
    assert [finding for finding in gate.finish(skip_bad=False) if "duplicate" in finding.rule] == []


@pytest.mark.real_scans
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real scans in ../shared/data")
def test_neighbouring_real_slices_are_no_copies_but_a_noisy_one_is(gate):
    for file in slice_files(SHARED)[:100]:
        item = read_slice(file)
        gate.check_slice(item.path, item.image, item.mask, item.patient)
    noise = np.random.default_rng(0).integers(-3, 4, item.image.shape).astype(item.image.dtype)
    gate.check_slice(Path("copy.mat"), item.image + noise, item.mask, "somebody else")
    assert [f.file for f in gate.finish(skip_bad=False) if "duplicate" in f.rule] == ["copy.mat"]


def test_an_image_of_one_value(gate, mask):
    assert gate.check_slice(Path("1.mat"), np.full((48, 48), 7), mask, "anna")
    assert found(gate) == [("warning", "1.mat", "constant-image")]


def test_a_mask_outside_the_head(gate, head):
    corner = np.zeros((48, 48), np.uint8)
    corner[:4, :4] = 1
    gate.check_slice(Path("1.mat"), head(1), corner, "anna")
    assert found(gate) == [("warning", "1.mat", "mask-outside-head")]


def test_a_slice_without_tumour_is_nothing_to_speak_of(gate, head, mask):
    assert gate.check_slice(Path("1.mat"), head(1), 0 * mask, "anna")
    assert gate.check_slice(Path("2.mat"), head(2), mask.astype(bool), "anna")
    assert found(gate) == []


def test_patients_of_one_family_are_named_together(gate):
    for patient in ("MR1", "MR1B", "MR1", "MR2"):
        gate.see_patient(Path(f"{patient}.mat"), patient, patient[:3])
    (finding,) = gate.finish(skip_bad=False)
    assert (finding.weight, finding.rule) == ("warning", "patient-family")
    assert finding.message == "MR1, MR1B share the stem MR1: kept together in every split"


@pytest.mark.parametrize(
    ("image", "mask", "rule"),
    [
        (np.ones((0, 8)), None, "empty-image"),
        (np.array([[0, np.nan]]), None, "not-finite"),
        (np.array([[0, np.inf]]), None, "not-finite"),
        (np.array([[0, -1e39]]), None, "not-finite"),
        (np.eye(8), np.eye(9), "mask-shape"),
        (np.eye(8), np.arange(64).reshape(8, 8) % 3, "mask-values"),
        (np.eye(8), np.where(np.eye(8) > 0, np.nan, 0), "mask-values"),
    ],
)
def test_errors(gate, image, mask, rule):
    assert not gate.check_slice(Path("1.mat"), image, mask, "anna")
    assert found(gate) == [("error", "1.mat", rule)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_the_ends_of_a_type_are_finite(gate, dtype):
    info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    assert gate.check_slice(Path("1.mat"), np.array([[info.min, info.max]], dtype), None, "anna")


def test_an_image_without_a_patient_can_not_be_split(gate, head, mask):
    assert not gate.check_slice(Path("1.mat"), head(1), mask, "")
    assert found(gate) == [("error", "1.mat", "no-patient")]


def test_errors_stop_unless_bad_files_are_to_be_skipped(gate, head, mask):
    gate.check_slice(Path("good.mat"), head(1), mask, "anna")
    gate.error(Path("bad.mat"), "unreadable", "is no such file; fetch it again")
    gate.warn(Path("good.mat"), "odd", "looks odd")
    with pytest.raises(IntegrityError) as caught:
        gate.finish(skip_bad=False)
    message = str(caught.value)
    assert message.startswith("bad.mat: is no such file; fetch it again; or pass --skip-bad")
    assert "\n" not in message
    assert [finding.file for finding in gate.finish(skip_bad=True)] == ["bad.mat", "good.mat"]


def test_one_message_counts_the_errors_it_does_not_show(gate):
    for number in range(4):
        gate.error(Path(f"{number}.mat"), "unreadable", "is damaged")
    with pytest.raises(IntegrityError, match=r"^0\.mat: is damaged \(and 3 more errors\)"):
        gate.finish(skip_bad=False)


# Cases: a volume of several modalities is one file to the gate

MODALITIES = ("t1c", "t2w")


@pytest.fixture
def volume(head, mask):
    """Images `(3, 48, 48, 2)` and mask `(3, 48, 48)` with labels 1 and 4."""

    def make(seed=0):
        t1c = np.stack([head(100 * seed + index) for index in range(3)])
        t2w = np.stack([head(100 * seed + 50 + index) for index in range(3)])
        labels = np.stack([0 * mask, mask, 4 * mask])
        return np.stack([t1c, t2w], axis=-1), labels

    return make


def check(gate, images, labels, name="1.nii.gz", patient="anna", modalities=MODALITIES):
    return gate.check_case(Path(name), images, labels, patient, modalities, (1, 2, 4))


def test_good_cases_have_no_findings(gate, volume):
    for seed in range(10):
        assert check(gate, *volume(seed), name=f"{seed}.nii.gz", patient=f"p{seed}")
    assert check(gate, volume(11)[0], None, name="no-mask.nii.gz")
    assert gate.finish(skip_bad=False) == []


def test_neighbouring_slices_of_one_case_may_be_alike_but_two_cases_may_not(gate, head, mask):
    noise = np.random.default_rng(0).integers(-1, 2, (3, 48, 48, 1)).astype(np.int16)
    images = np.stack([head(1)] * 3)[..., None] + noise
    labels = np.stack([mask] * 3)
    assert check(gate, images, labels, modalities=("t1c",))
    assert check(gate, images + noise[::-1], labels, name="2.nii.gz", patient="berta", modalities=("t1c",))
    assert check(gate, images.copy(), labels, name="3.nii.gz", modalities=("t1c",))
    findings = gate.finish(skip_bad=False)
    assert [(f.file, f.rule, f.message) for f in findings] == [
        ("3.nii.gz", "duplicate", "the same picture as 1.nii.gz of the same patient"),
        ("2.nii.gz", "near-duplicate", "almost the same picture as 1.nii.gz of another patient, anna"),
    ]


def test_cases_that_share_one_modality_of_two_are_no_duplicates(gate, volume):
    (one, labels), (other, _) = volume(1), volume(2)
    check(gate, one, labels)
    check(gate, np.stack([other[..., 0], one[..., 1]], axis=-1), labels, name="2.nii.gz")
    assert gate.finish(skip_bad=False) == []


def test_a_modality_that_a_case_lacks_is_zero_and_not_spoken_of(gate, volume):
    images, labels = volume()
    images[..., 0] = 0
    assert check(gate, images, labels)
    copy = images + np.array([0, 1], np.int16)
    assert check(gate, copy, labels, name="copy.nii.gz")  # looked for in the modality that is there
    assert [f.rule for f in gate.finish(skip_bad=False)] == ["near-duplicate"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: images[..., 1].fill(7), "every pixel of t2w has the same value"),
        (lambda images: images.fill(0), "every pixel of t1c has the same value"),
    ],
    ids=["one modality of one value", "all zero"],
)
def test_a_constant_modality_is_named(gate, volume, spoil, message):
    images, labels = volume()
    spoil(images)
    assert check(gate, images, labels)
    assert gate.findings[0].message == message
    assert {f.rule for f in gate.findings} == {"constant-image"}


def test_a_modality_that_stands_in_for_another(gate, volume):
    images, labels = volume()
    images[..., 1] = images[..., 0]
    assert check(gate, images, labels)
    assert found(gate) == [("warning", "1.nii.gz", "same-modalities")]
    assert gate.findings[0].message == "t1c and t2w are the same voxel for voxel: one stands in for the other"


def test_a_scan_whose_mask_marks_nothing_though_a_lone_slice_may(gate, volume):
    images, labels = volume()
    assert check(gate, images, 0 * labels)
    assert check(gate, images[:1], 0 * labels[:1], name="slice.png")
    assert found(gate) == [("warning", "1.nii.gz", "empty-mask")]


def test_a_mask_outside_the_head_lies_in_the_background_of_every_modality(gate, volume):
    images, _ = volume()
    corner = np.zeros(images.shape[:3], np.uint8)
    corner[:, :4, :4] = 1
    bright = images.copy()
    bright[:, :4, :4, 1] = 200
    check(gate, images, corner, name="outside.nii.gz")
    check(gate, bright, corner, name="inside.nii.gz")
    assert found(gate) == [("warning", "outside.nii.gz", "mask-outside-head")]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda images, labels: (images[:, :0], labels[:, :0]), "empty-image"),
        (lambda images, labels: (np.where(images == images.max(), np.nan, images), labels), "not-finite"),
        (lambda images, labels: (np.where(images == images.max(), 1e39, images), labels), "not-finite"),
        (lambda images, labels: (images, labels[:2]), "mask-shape"),
        (lambda images, labels: (images, labels + labels // 4), "mask-values"),
        (lambda images, labels: (images, labels / 2), "mask-values"),
        (lambda images, labels: (images, np.where(labels == 1, np.nan, labels)), "mask-values"),
    ],
)
def test_errors_of_a_case(gate, volume, spoil, rule):
    assert not check(gate, *spoil(*volume()))
    assert found(gate) == [("error", "1.nii.gz", rule)]


def test_strange_labels_are_listed_but_not_all(gate, volume):
    images, labels = volume()
    labels[0, 0] = np.arange(48)
    assert not check(gate, images, labels)
    assert gate.findings[0].message == "the mask holds 3, 5, 6, 7, 8, …, but the labels are 0, 1, 2, 4; leave it out"


def test_a_large_volume_is_never_copied_whole(gate):
    """155 slices of 240 x 240 in four modalities, a BraTS case: at most two copies of one modality."""
    images = np.random.default_rng(0).integers(0, 3000, (155, 240, 240, 4), np.int16)
    images[:, :60] = 0
    labels = np.zeros(images.shape[:3], np.uint8)
    labels[50:80, :50] = 1  # outside the head, so that every modality is looked at
    tracemalloc.start()
    assert check(gate, images, labels, modalities=("t1n", "t1c", "t2w", "t2f"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found(gate) == [("warning", "1.nii.gz", "mask-outside-head")]
    assert peak < 2 * images[..., 0].nbytes


# Names


@pytest.mark.parametrize("names", [["a", "a", "a_2"], ["a_2", "a", "a"], ["a", "a", "a_2", "a_2", "a", "a_2_2"]])
def test_no_name_is_given_twice_even_if_one_looks_like_a_numbered_other(gate, names):
    given = [gate.unique_name(name) for name in names]
    assert len(set(given)) == len(given)
    assert given[0] == names[0]


def test_names_differ_even_where_the_case_of_letters_does_not_count(gate):
    given = [gate.unique_name(name) for name in ("MR1b", "MR1B", "mr1b")]
    assert len({name.casefold() for name in given}) == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "/root", "..", "", "a\\b", "C:x", "a\nb\0c", "Müller 3", "💀"])
def test_names_are_safe_as_file_names(gate, name, tmp_path):
    safe = gate.unique_name(name)
    assert safe
    assert (tmp_path / safe).parent == tmp_path
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in safe)


def test_cases_of_a_source_get_names_of_their_own(figshare_file, tmp_path, gate):
    for folder, patient in (("a", "X.1"), ("b", "X_1")):
        figshare_file(tmp_path / folder / "1.mat", patient=patient)
    assert len({case.case for case in figshare_cases(tmp_path, gate)}) == 2
