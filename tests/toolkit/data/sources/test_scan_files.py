"""What a user hands over is found in a sensible order, put together to scans, and named safely."""

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.config import LayoutRecipe
from toolkit.data.sources.scan_files import find_scans, lone_file, safe_name, unique_names
from toolkit.errors import SourceError

dicom = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("dicom_files.py"))))
BRATS = ("t1n", "t1c", "t2w", "t2f")


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def named(scans, folder):
    return [str(scan.path.relative_to(folder)) for scan in scans]


def test_a_folder_is_searched_and_numbers_sort_as_numbers(tmp_path):
    make(tmp_path, "10.mat", "2.mat", "1.mat", "b/3.nii.gz", "a 10/1.png", "a 9/1.TIFF", "b/notes.txt")
    expected = ["1.mat", "2.mat", "10.mat", "a 9/1.TIFF", "a 10/1.png", "b/3.nii.gz"]
    assert named(find_scans([tmp_path]), tmp_path) == expected


def test_hidden_files_and_what_is_no_slice_are_left_out(tmp_path):
    make(tmp_path, "1.mat", "cvind.mat", "._1.mat", ".cache/2.mat", "sub/CVIND.mat")
    assert named(find_scans([tmp_path]), tmp_path) == ["1.mat"]


def test_the_folder_we_write_to_is_not_read_back(tmp_path):
    make(tmp_path, "1.png", "bts-predictions/1_mask.png")
    found = find_scans([tmp_path], skip=tmp_path / "bts-predictions")
    assert named(found, tmp_path) == ["1.png"]


def test_files_come_as_given_and_once(tmp_path):
    make(tmp_path, "2.png", "1.png")
    found = find_scans([tmp_path / "2.png", tmp_path, tmp_path / "." / "2.png"])
    assert named(found, tmp_path) == ["2.png", "1.png"]


@pytest.mark.parametrize("name", ["empty", "missing", "missing.nii.gz", "report.pdf", "x" * 300 + ".png"])
def test_what_can_not_be_used_is_one_line_that_names_it(tmp_path, name):
    (tmp_path / "empty").mkdir()
    make(tmp_path, "report.pdf")
    with pytest.raises(SourceError) as caught:
        find_scans([tmp_path / name])
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_without_scans_says_what_would_be_accepted(tmp_path):
    with pytest.raises(SourceError, match=r"no scan found in .*accepted: DICOM, \.nii\.gz, .*\.mat, \.png"):
        find_scans([tmp_path])


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("BraTS-GLI-00001-000-t1c.nii.gz", "BraTS-GLI-00001-000-t1c"),
        ("scan.v2.NII.GZ", "scan.v2"),
        ("Müller, Kopf (2).png", "Müller_Kopf_2"),
        ("<script>alert(1)</script>.png", "script"),
        ("$(rm -rf ~);`id`.nii", "rm_-rf_id"),
        ("-o.mat", "o"),
        ("..nii", "scan"),
        ("new\nline\x00\udcff.png", "new_line"),
        ("...hidden.tif", "hidden"),
        ("頭部.png", "頭部"),
    ],
)
def test_a_hostile_name_becomes_a_harmless_one(file, name):
    made = safe_name(file.replace("</", "<\\"))
    assert made.startswith(name)
    assert not set(made) & set("/\\<>$`;:*?|\"'\n\x00 ")
    assert made[0] not in ".-"


def test_a_very_long_name_leaves_room_for_endings():
    for letter in "x頭":
        assert len((safe_name(letter * 250 + ".png") + "_enhanced.nii.gz").encode()) <= 255


def test_names_that_clash_get_their_folder_then_a_number():
    paths = [Path("/d/01/T1.nii.gz"), Path("/d/02/t1.nii.gz"), Path("/d/03/flair.nii.gz")]
    assert unique_names([lone_file(path) for path in paths]) == ["01_T1", "02_t1", "flair"]
    clash = [Path("/d/a.nii.gz"), Path("/d/a.png"), Path("/d/A.mat"), Path("/d/d_a_2.png")]
    names = unique_names([lone_file(path) for path in clash])
    assert names[:2] == ["d_a", "d_a_2"]
    assert len({name.casefold() for name in names}) == 4


# --- cases of several files -------------------------------------------------------


def files_of(scan):
    return {modality: file.name for modality, file in scan.files.items()}


@pytest.fixture
def brats_case(tmp_path):
    names = [f"BraTS-GLI-00001-000-{end}.nii.gz" for end in (*BRATS, "seg", "seg-automatic")]
    return make(tmp_path / "data/BraTS-GLI-00001-000", *names)


def test_a_case_of_brats_is_one_scan_of_the_modalities_the_model_needs(brats_case):
    (scan,) = find_scans([brats_case], ("t1c", "t2f"))
    assert scan.path == brats_case
    assert list(files_of(scan).items()) == [
        ("t1c", "BraTS-GLI-00001-000-t1c.nii.gz"),
        ("t2f", "BraTS-GLI-00001-000-t2f.nii.gz"),
    ]


def test_a_model_of_one_modality_takes_that_one_of_a_case(brats_case):
    (scan,) = find_scans([brats_case.parent], ("t1c",))
    assert files_of(scan) == {"t1c": "BraTS-GLI-00001-000-t1c.nii.gz"}


def test_a_case_that_lacks_a_modality_is_one_for_a_model_that_learned_to_do_without(brats_case):
    (brats_case / "BraTS-GLI-00001-000-t2w.nii.gz").unlink()
    (scan,) = find_scans([brats_case], BRATS, allow_missing=True)
    assert list(scan.files) == ["t1n", "t1c", "t2f"]
    (scan,) = find_scans([brats_case], BRATS)
    assert scan.problem is not None
    assert "t2w" in scan.problem


def test_files_are_found_by_the_patterns_the_model_was_trained_with(tmp_path, monkeypatch):
    make(tmp_path / "set", "01/Pre_T1.nii.gz", "01/Pre_FL.nii.gz", "02/Pre_T1.nii.gz", "02/Pre_FL.nii.gz")
    layout = LayoutRecipe(images={"t1c": "{patient}/{visit}_T1.nii.gz", "t2f": "{patient}/{visit}_FL.nii.gz"})
    whole = find_scans([tmp_path / "set"], ("t1c", "t2f"), layout=layout)
    one = find_scans([tmp_path / "set/02"], ("t1c", "t2f"), layout=layout)
    assert [scan.path.name for scan in whole] == ["01", "02"]
    monkeypatch.chdir(tmp_path)
    assert len(find_scans([Path("set")], ("t1c", "t2f"), layout=layout)) == 2
    assert [files_of(scan) for scan in one] == [{"t1c": "Pre_T1.nii.gz", "t2f": "Pre_FL.nii.gz"}]


def test_masks_beside_their_scans_are_left_out_in_a_folder_but_taken_when_named(tmp_path):
    make(tmp_path, "scan.nii.gz", "scan_mask.nii.gz", "2-seg.png", "2.png")
    assert named(find_scans([tmp_path]), tmp_path) == ["2.png", "scan.nii.gz"]
    assert named(find_scans([tmp_path / "scan_mask.nii.gz"]), tmp_path) == ["scan_mask.nii.gz"]


# --- DICOM --------------------------------------------------------------------------


def write_series(folder, description, number=1, patient="P1", shape=(7, 9, 5), **options):
    """A series of a study of its patient; other numbers are other series."""
    uids = {"StudyInstanceUID": f"1.{patient[1]}", "SeriesInstanceUID": f"1.{patient[1]}.{number}"}
    tags = {"SeriesDescription": description, "PatientID": patient, **uids, **options}
    return dicom.write_series(folder, dicom.voxels(shape, seed=number), **tags)


def series_of(scan):
    return {modality: series.description for modality, series in scan.series.items()}


def test_a_series_is_one_scan_whatever_its_files_are_called(tmp_path):
    for number, path in enumerate(write_series(tmp_path / "IMG", "T1 post Gd")):
        path.rename(path.with_name(f"IM{number}"))
    (tmp_path / "IMG/DICOMDIR").write_text("no scan")
    (scan,) = find_scans([tmp_path])
    assert (scan.kind, scan.path, scan.name) == ("dicom", tmp_path / "IMG", "T1_post_Gd")
    assert len(scan.all_files) == 5


def test_of_several_series_a_model_of_one_modality_takes_that_one_of_each_study(tmp_path):
    write_series(tmp_path / "P1/a", "T1 post Gd", 1)
    write_series(tmp_path / "P1/b", "FLAIR", 2)
    # Nobody wrote down what these are.
    write_series(tmp_path / "P2/a", "tra 5mm", 1, patient="P2")
    write_series(tmp_path / "P2/b", "cor 5mm", 2, patient="P2")
    found = find_scans([tmp_path], ("t1c",))
    assert [series_of(scan)["t1c"] for scan in found] == ["T1 post Gd", "tra 5mm", "cor 5mm"]
    assert named(found, tmp_path) == ["P1/a", "P2/a", "P2/b"]
    assert len({scan.title for scan in found}) == 3


def test_series_of_the_same_name_get_their_folders_in_front(tmp_path):
    for patient in ("P1", "P2"):
        write_series(tmp_path / patient, "T1 post Gd", patient=patient)
    assert unique_names(find_scans([tmp_path])) == ["P1_T1_post_Gd", "P2_T1_post_Gd"]


def test_two_volumes_in_one_file_are_two_scans(tmp_path):
    dicom.write_enhanced(tmp_path / "two.dcm", dicom.voxels(), order=range(5), echoes=(10.0, 90.0))
    for inputs in ([tmp_path], [tmp_path / "two.dcm"], [tmp_path, tmp_path / "two.dcm"]):
        assert len(find_scans(inputs)) == 2


def test_files_named_one_by_one_are_put_together_again(tmp_path, monkeypatch):
    paths = write_series(tmp_path, "T1 post Gd")
    (scan,) = find_scans(sorted(paths))
    assert scan.series["t1c"].n_slices == 5
    monkeypatch.chdir(tmp_path)
    (mixed,) = find_scans([paths[0], *(Path(path.name) for path in paths[1:])])
    assert mixed.series["t1c"].n_slices == 5
    (lone,) = find_scans([paths[3]])
    assert (lone.path, lone.series["t1c"].n_slices) == (paths[3], 1)


def test_a_model_of_several_modalities_gets_them_from_each_study_on_one_grid(tmp_path):
    for patient in ("P1", "P2"):
        write_series(tmp_path / patient / "flair", "FLAIR", 1, patient)
        write_series(tmp_path / patient / "long", "FLAIR 3D", 2, patient, shape=(7, 9, 8))
        write_series(tmp_path / patient / "ce", "T1 post Gd", 3, patient)
        write_series(tmp_path / patient / "dwi", "ep2d_diff", 4, patient)
    found = find_scans([tmp_path], ("t1c", "t2f"))
    assert [list(series_of(scan).items()) for scan in found] == [[("t1c", "T1 post Gd"), ("t2f", "FLAIR")]] * 2
    assert unique_names(found) == ["P1", "P2"]


def test_a_study_without_a_modality_is_one_for_a_model_that_learned_to_do_without(tmp_path):
    write_series(tmp_path, "T1 post Gd")
    (scan,) = find_scans([tmp_path], ("t1c", "t2f"), allow_missing=True)
    assert (list(scan.series), scan.problem) == (["t1c"], None)
    (scan,) = find_scans([tmp_path], ("t1c", "t2f"))
    assert "told to be t2f by its description (T1 post Gd)" in scan.problem
    (scan,) = find_scans([tmp_path], ("t1n", "t2f"), allow_missing=True)
    assert "t1n, t2f" in scan.problem


def test_a_broken_series_is_named_and_the_others_are_found(tmp_path):
    write_series(tmp_path / "a", "T1 post Gd", 1)
    write_series(tmp_path / "b", "T1 post Gd", 2)[2].unlink()
    (tmp_path / "c.dcm").write_text("no DICOM")
    good, text, gap = find_scans([tmp_path])
    assert (good.problem, good.path) == (None, tmp_path / "a")
    assert "find the missing ones" in gap.problem
    assert gap.path.parent == tmp_path / "b"
    assert (text.path, text.kind) == (tmp_path / "c.dcm", "dicom")
    assert "none" in text.problem


def test_dicom_that_is_no_scan_is_refused_when_named_and_left_out_in_a_folder(tmp_path):
    report = dicom.save(dicom.header("1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"), tmp_path / "report.dcm")
    with pytest.raises(SourceError, match=r"report\.dcm: DICOM, but no scan"):
        find_scans([report])
    make(tmp_path, "1.png")
    assert named(find_scans([tmp_path]), tmp_path) == ["1.png"]


def test_a_pipe_in_a_folder_does_not_keep_us_waiting(tmp_path):
    make(tmp_path, "1.png")
    os.mkfifo(tmp_path / "pipe")
    assert named(find_scans([tmp_path]), tmp_path) == ["1.png"]


# --- pictures that are slices of one case ------------------------------------------


def test_pictures_of_the_lgg_set_are_one_scan_a_folder_in_the_order_of_their_numbers(tmp_path):
    name = "TCGA_CS_4941_19960909"
    make(tmp_path, *(f"{name}/{name}_{n}{end}.tif" for n in (1, 2, 10) for end in ("", "_mask")))
    (scan,) = find_scans([tmp_path], ("t1n", "t2f", "t1c"))
    assert (scan.kind, scan.name, scan.path.name) == ("picture", name, name)
    assert [file.name for file in scan.all_files] == [f"{name}_{n}.tif" for n in (1, 2, 10)]
    # To a model of other modalities they are pictures like any others.
    assert len(find_scans([tmp_path], ("t1c",))) == 3


def test_the_layout_tells_slices_of_a_case_and_masks(tmp_path):
    make(tmp_path, *(f"{kind}/p{p}_{n}.png" for kind in ("a", "b", "truth") for p in (1, 2) for n in (9, 10)))
    layout = LayoutRecipe(
        images={"t1c": "a/{patient}_{slice}.png", "t2f": "b/{patient}_{slice}.png"}, mask="truth/{patient}_{slice}.png"
    )
    scans = find_scans([tmp_path], ("t1c", "t2f"), layout=layout)
    assert [scan.name for scan in scans] == ["p1", "p2"]
    assert [[str(f.relative_to(tmp_path)) for f in files] for files in scans[0].slices] == [
        ["a/p1_9.png", "b/p1_9.png"],
        ["a/p1_10.png", "b/p1_10.png"],
    ]
