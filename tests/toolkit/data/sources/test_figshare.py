"""The figshare set as it is downloaded: transposed slices whose numbers tell the sequences apart."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.figshare import figshare_cases, patient_stem, read_slice, slice_files
from toolkit.errors import IntegrityError, SourceError

SHARED = Path(__file__).parents[4] / "../shared/data/figshare"
needs_real_scans = pytest.mark.skipif(not SHARED.is_dir(), reason="no real scans in ../shared/data")


@pytest.fixture
def gate():
    return IntegrityGate()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "figshare"


def rules(gate, weight="error"):
    return [(Path(finding.file).name, finding.rule) for finding in gate.findings if finding.weight == weight]


# One slice


def test_a_slice_is_turned_back_from_columns_first(figshare_file, folder):
    """An L: its foot is at the bottom right, and only so if rows and columns are told apart."""
    image = np.zeros((20, 30), np.int16)
    image[2:15, 4] = 700
    image[14, 4:9] = 800
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 20:29] = 1
    item = read_slice(figshare_file(folder / "7.mat", image, mask, "MR0402", label=2, border=[2, 20, 4, 28]))
    assert (item.image == image).all()
    assert (item.mask == mask).all()
    assert item.image.dtype == np.int16
    assert (item.patient, item.label_name) == ("MR0402", "glioma")
    assert item.border.tolist() == [[2, 20], [4, 28]]


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "uint16", "int32", "float32", ">f8"])
def test_values_and_type_are_those_of_the_file(figshare_file, folder, dtype):
    image = np.arange(12 * 16).reshape(12, 16).astype(dtype)
    image[0, 0] = -700 if np.dtype(dtype).kind in "if" else 255
    read = read_slice(figshare_file(folder / "1.mat", image)).image
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert (read == image).all()


@pytest.mark.parametrize(
    ("stored", "read_as"), [("bool", "uint8"), ("float16", "float32"), ("int64", "float64"), ("uint64", "float64")]
)
def test_types_a_store_does_not_know_are_read_as_a_wider_one(figshare_file, folder, stored, read_as):
    image = (np.arange(12 * 16).reshape(12, 16) % 7).astype(stored)
    read = read_slice(figshare_file(folder / "1.mat", image)).image
    assert read.dtype == np.dtype(read_as)
    assert (read == image).all()


@pytest.mark.parametrize(("label", "name"), [(1, "meningioma"), (2, "glioma"), (3, "pituitary"), (4, None)])
def test_the_label_is_a_tumour_class(figshare_file, folder, label, name):
    assert read_slice(figshare_file(folder / "1.mat", label=label)).label_name == name


def test_what_a_slice_may_do_without(figshare_file, folder):
    item = read_slice(figshare_file(folder / "1.mat", leave_out=["tumorMask", "tumorBorder", "label", "PID"]))
    assert (item.mask, item.border, item.label_name, item.patient) == (None, None, None, "")


@pytest.mark.parametrize("kept", [0, 1, 100, 511, 512, 600, 0.25, 0.5, 0.9, -1])
def test_a_truncated_file_is_one_line(figshare_file, folder, kept):
    path = figshare_file(folder / "1.mat")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(SourceError) as caught:
        read_slice(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "fetch the file again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_slice_is_said_so(tmp_path):
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["image"] = np.zeros((4, 4))
    with h5py.File(tmp_path / "flat.mat", "w") as file:
        file["cjdata"] = np.zeros((4, 4))
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: PCWIN64".ljust(4096))
    with pytest.raises(SourceError, match=r"other\.mat: no 'cjdata' inside"):
        read_slice(tmp_path / "other.mat")
    for name in ("flat", "old", "absent"):
        with pytest.raises(SourceError, match=rf"{name}\.mat: not a readable MATLAB 7\.3 file"):
            read_slice(tmp_path / f"{name}.mat")


def test_a_picture_of_absurd_size_is_not_read(folder):
    folder.mkdir()
    with h5py.File(folder / "1.mat", "w") as file:
        file.create_dataset("cjdata/image", (100_000, 100_000), "int16", chunks=(100, 100))
    with pytest.raises(SourceError, match="100000"):
        read_slice(folder / "1.mat")


@pytest.mark.parametrize("shape", [(16,), (16, 16, 3)])
def test_a_picture_has_rows_and_columns_only(figshare_file, folder, shape):
    with pytest.raises(SourceError, match="rows and columns"):
        read_slice(figshare_file(folder / "1.mat", np.zeros(shape, np.int16), np.zeros((4, 4))))


# Patients


@pytest.mark.parametrize(
    ("patient", "stem"),
    [("MR040240", "MR040240"), ("MR040240B", "MR040240"), ("MR040240d", "MR040240"), ("100360", "100360"), ("X", "X")],
)
def test_the_stem_of_a_patient(patient, stem):
    assert patient_stem(patient) == stem


def test_patients_of_one_stem_are_one_group_and_the_gate_says_so(figshare_file, folder, gate):
    for number, patient in enumerate(["MR040240", "MR040240B", "MR040241"]):
        figshare_file(folder / f"{10 * number + 1}.mat", patient=patient)
    groups = {case.patient: case.patient_group for case in figshare_cases(folder, gate)}
    assert groups == {"MR040240": "MR040240", "MR040240B": "MR040240", "MR040241": "MR040241"}
    (finding,) = gate.finish(skip_bad=False)
    assert finding.rule == "patient-family"
    assert "MR040240, MR040240B share the stem MR040240" in finding.message


# Runs


def test_a_run_of_numbers_of_one_patient_is_a_case(figshare_file, folder, gate):
    """Broken by a gap (3 to 5), by another patient (8), and by another size (10)."""
    for number in (1, 2, 3, 5, 6, 7):
        figshare_file(folder / f"{number}.mat", patient="A1", label=3)
    for number in (8, 9):
        figshare_file(folder / f"{number}.mat", patient="B2")
    figshare_file(folder / "10.mat", np.ones((32, 40), np.int16), patient="B2")
    cases = list(figshare_cases(folder, gate))
    assert [case.slice_names for case in cases] == [("1", "2", "3"), ("5", "6", "7"), ("8", "9"), ("10",)]
    assert [case.patient for case in cases] == ["A1", "A1", "B2", "B2"]
    assert [case.tumour_type for case in cases] == ["pituitary", "pituitary", "meningioma", "meningioma"]
    assert len({case.case for case in cases}) == 4
    assert {case.modalities for case in cases} == {("t1c",)}


def test_a_run_is_broken_by_another_type_so_no_value_is_changed(figshare_file, folder, gate):
    figshare_file(folder / "1.mat", np.full((20, 20), 300, np.int16))
    figshare_file(folder / "2.mat", np.full((20, 20), 200, np.uint8))
    cases = list(figshare_cases(folder, gate))
    assert [case.images.dtype.name for case in cases] == ["int16", "uint8"]


def test_slices_of_a_case_are_in_natural_order_with_their_own_masks(figshare_file, folder, gate):
    for number in (8, 9, 10, 11):
        mask = np.zeros((24, 24), np.uint8)
        mask[number, :] = 1
        figshare_file(folder / f"{number}.mat", np.full((24, 24), number, np.int16), mask)
    (case,) = figshare_cases(folder, gate)
    assert case.images[:, 0, 0, 0].tolist() == [8, 9, 10, 11]
    assert case.mask.any(axis=2).argmax(axis=1).tolist() == [8, 9, 10, 11]
    assert case.mask.dtype == np.uint8


def test_subfolders_as_downloaded_are_one_sequence(figshare_file, folder, gate):
    """The four archives unpack into four folders; a run may cross from one to the next."""
    for number in (1, 766, 767, 1532):
        archive = "brainTumorDataPublic_1-766" if number <= 766 else "brainTumorDataPublic_767-1532"
        figshare_file(folder / archive / f"{number}.mat")
    assert [case.slice_names for case in figshare_cases(folder, gate)] == [("1",), ("766", "767"), ("1532",)]


def test_files_are_sorted_by_number_and_those_that_are_no_slices_left_out(figshare_file, folder):
    for name in ("10", "9", "100", "1", "extra"):
        figshare_file(folder / f"{name}.mat")
    (folder / "cvind.mat").write_bytes(b"folds")
    (folder / "._1.mat").write_bytes(b"left by a Mac")
    (folder / "readme.txt").write_text("no slice")
    assert [file.stem for file in slice_files(folder)] == ["1", "9", "10", "100", "extra"]


def test_an_empty_or_missing_folder_is_said_so(tmp_path, gate):
    with pytest.raises(SourceError, match=r"no \.mat file in it"):
        list(figshare_cases(tmp_path, gate))
    with pytest.raises(SourceError, match="no such folder"):
        list(figshare_cases(tmp_path / "absent", gate))
    with pytest.raises(SourceError, match="no such folder"):
        slice_files(Path(__file__))


# Bad files are left out, and said so


def test_bad_files_are_left_out_and_named(figshare_file, folder, gate, head):
    good = head(3, (20, 20))
    nan = good.astype(np.float32)
    nan[4, 4] = np.nan
    three_values = np.zeros((20, 20), np.uint8)
    three_values[2, 2:4] = 1, 2
    figshare_file(folder / "1.mat", good)
    path = figshare_file(folder / "2.mat", good)
    path.write_bytes(path.read_bytes()[:1000])
    figshare_file(folder / "3.mat", good, np.zeros((20, 21), np.uint8))
    figshare_file(folder / "4.mat", nan)
    figshare_file(folder / "5.mat", good, three_values)
    figshare_file(folder / "6.mat", good, patient="")
    figshare_file(folder / "7.mat", good, leave_out=["PID"])
    figshare_file(folder / "8.mat", good, leave_out=["tumorMask"])
    figshare_file(folder / "9.mat", np.where(good > 0, 1e300, 0.0))
    figshare_file(folder / "10.mat", head(5, (20, 20)))
    cases = list(figshare_cases(folder, gate))
    assert [case.slice_names for case in cases] == [("1",), ("10",)]
    assert rules(gate) == [
        ("2.mat", "unreadable"),
        ("3.mat", "mask-shape"),
        ("4.mat", "not-finite"),
        ("5.mat", "mask-values"),
        ("6.mat", "no-patient"),
        ("7.mat", "no-patient"),
        ("8.mat", "no-mask"),
        ("9.mat", "not-finite"),
    ]
    with pytest.raises(IntegrityError, match=r"2\.mat: .*\(and 7 more errors\)"):
        gate.finish(skip_bad=False)


def test_a_mask_of_0_and_255_is_taken_with_a_warning(figshare_file, folder, gate, head):
    image = head(1, (20, 20))
    figshare_file(folder / "1.mat", image, np.where(image > 200, 255, 0).astype(np.uint8))
    (case,) = figshare_cases(folder, gate)
    assert (case.mask[0] == (image > 200)).all()
    assert rules(gate) == []
    assert ("1.mat", "mask-values") in rules(gate, "warning")


# Real scans


@pytest.mark.real_scans
@needs_real_scans
def test_the_border_of_a_real_slice_lies_on_the_outline_of_its_mask():
    """Only so if image, mask and border are turned the same way: the tumour is off the diagonal."""
    item = read_slice(SHARED / "slices/1.mat")
    assert item.image.shape == (256, 256)
    row, column = np.rint(item.border).astype(int).T
    rim = np.pad(item.mask, 1).astype(bool)
    inner = rim[1:-1, 1:-1] & rim[:-2, 1:-1] & rim[2:, 1:-1] & rim[1:-1, :-2] & rim[1:-1, 2:]
    outline = item.mask.astype(bool) & ~inner
    assert outline[row, column].mean() > 0.95
    assert outline[column, row].mean() < 0.2


def test_an_outline_beyond_the_image_is_a_warning(tmp_path, figshare_file):
    figshare_file(tmp_path / "1.mat", border=[4, 4, 9, 4, 9, 300])
    figshare_file(tmp_path / "2.mat")
    gate = IntegrityGate()
    (case,) = figshare_cases(tmp_path, gate)
    assert case.n_slices == 2
    assert [(Path(f.file).name, f.weight, f.rule) for f in gate.findings] == [("1.mat", "warning", "border-outside")]


@pytest.mark.real_scans
@needs_real_scans
def test_patients_and_classes_of_real_slices_are_those_of_the_index():
    with (SHARED / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with_letter = [row for row in rows if row["pid"] != row["patient_group"]]
    sample = rows[:: len(rows) // 30] + with_letter[:: max(1, len(with_letter) // 10)]
    assert len(sample) >= 40
    for row in sample:
        item = read_slice(SHARED / f"slices/{row['id']}.mat")
        assert (item.patient, patient_stem(item.patient)) == (row["pid"], row["patient_group"])
        assert item.label_name == row["class_name"]


@pytest.mark.real_scans
@needs_real_scans
def test_a_real_slice_of_full_size_shows_the_same_tumour_as_the_small_one():
    full, small = (read_slice(SHARED / f"{size}/204.mat") for size in ("full_size", "slices"))
    assert full.image.shape == full.mask.shape == (512, 512)
    assert (full.patient, full.label_name) == (small.patient, small.label_name)
    halved = full.mask.reshape(256, 2, 256, 2).mean((1, 3)) >= 0.5
    assert 2 * (halved & (small.mask > 0)).sum() / (halved.sum() + (small.mask > 0).sum()) > 0.95
