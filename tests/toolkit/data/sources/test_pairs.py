"""Image and mask find each other however a lab keeps them, and a mask means what was drawn."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toolkit.config import LayoutRecipe
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources import pair_layouts, pairs
from toolkit.data.sources.pairs import open_pairs
from toolkit.data.sources.picture_masks import binary_mask
from toolkit.errors import SourceError, UsageError

LGG_SCANS = Path(__file__).parents[4] / "../shared/data/lgg"


def tumour(white=255, dtype=np.uint8, shape=(48, 48), top=10):
    mask = np.zeros(shape, dtype)
    mask[top : top + 9, 14:26] = white
    return mask


def save(path, picture):
    """By Pillow and tifffile, which the toolkit does not read with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, picture, photometric="rgb" if picture.shape[-1] == 3 else "minisblack")
    else:
        Image.fromarray(picture).save(path)
    return path


def load(path):
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))


def read(folder, layout=None, spacing_mm=None):
    """Cases by patient and name, the findings as (weight, rule), and the source."""
    gate = IntegrityGate()
    source = open_pairs(folder, gate, layout, spacing_mm)
    return list(source.cases), gate.findings, source


def told(findings, weight="error"):
    return {(Path(f.file).name, f.rule) for f in findings if f.weight == weight}


def by_slices(mask="masks/{patient}_{slice}.png", **more):
    return LayoutRecipe(images={"t2w": "images/{patient}_{slice}.png"}, mask=mask, **more)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("white", [1, 255], ids=["masks of 0 and 1", "masks of 0 and 255"])
def test_two_folders_give_the_values_of_the_pictures_and_masks_of_0_and_1(tmp_path, head, ending, dtype, white):
    for seed, name in enumerate(("a", "b")):
        save(tmp_path / f"images/{name}{ending}", head(seed, dtype=dtype))
        save(tmp_path / f"masks/{name}.png", tumour(white))
    cases, findings, source = read(tmp_path)
    assert not told(findings)
    assert [case.patient for case in cases] == ["a", "b"]
    for case in cases:
        picture = load(tmp_path / f"images/{case.case}{ending}")
        assert (case.images.dtype, case.modalities, case.spacing_mm) == (dtype, ("t1c",), None)
        np.testing.assert_array_equal(case.images[0, ..., 0], picture)
        np.testing.assert_array_equal(case.mask[0], load(tmp_path / f"masks/{case.case}.png") == white)
    assert source.label_map == {"background": 0, "tumour": 1}
    assert set(source.files) == {file for file in tmp_path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("folders", [("images", "masks"), ("Image", "MASK"), ("imgs", "labels")])
@pytest.mark.parametrize("ending", ["", "_mask", "-mask", "_seg"])
def test_a_jpeg_finds_its_mask_by_its_name(tmp_path, head, folders, ending):
    image = save(tmp_path / folders[0] / "p1/7.jpg", head(dtype=np.uint8))
    save(tmp_path / folders[1] / f"p1/7{ending}.png", tumour())
    (tmp_path / folders[0] / "p1/._7.jpg").write_text("what macOS leaves behind")
    (case,), findings, _ = read(tmp_path)
    assert not findings
    assert (case.patient, case.case, case.slice_names) == ("p1", "p1_7", ("7",))
    assert np.abs(case.images[0, ..., 0].astype(int) - load(image)).max() <= 1  # two JPEG decoders
    np.testing.assert_array_equal(case.mask[0], tumour(1))


def test_pictures_without_subfolders_may_leak_and_that_is_said_once(tmp_path, head):
    for seed in range(3):
        save(tmp_path / f"images/{seed}.png", head(seed, dtype=np.uint8))
        save(tmp_path / f"masks/{seed}.png", tumour())
    _, findings, _ = read(tmp_path)
    (warning,) = [finding for finding in findings if finding.rule == "patients-unknown"]
    assert "CSV" in warning.message


def test_a_file_without_partner_is_named_and_the_others_are_read(tmp_path, head):
    for name in ("whole", "no_truth", "twice"):
        save(tmp_path / f"images/{name}.png", head(len(name), dtype=np.uint8))
    save(tmp_path / "images/twice.tif", head(dtype=np.uint8))
    for name in ("whole", "no_picture", "twice"):
        save(tmp_path / f"masks/{name}.png", tumour())
    cases, findings, _ = read(tmp_path)
    assert [case.case for case in cases] == ["twice", "whole"]
    assert told(findings) == {
        ("no_truth.png", "no-mask"),
        ("no_picture.png", "no-image"),
        ("twice.tif", "duplicate-slice"),
    }


@pytest.mark.parametrize(
    ("values", "expected", "soft"),
    [
        ([0, 0, 0], [0, 0, 0], False),
        ([0, 3, 3], [0, 1, 1], False),
        ([7, 7, 7], [1, 1, 1], False),
        ([0.0, 0.2, 0.2], [0, 1, 1], False),
        ([0.0, 0.49, 0.5], [0, 0, 1], True),
        ([0, 127, 128], [0, 0, 1], True),
        ([2, 250, 255], [0, 1, 1], True),
        ([0, 32767, 32768], [0, 0, 1], True),
        ([100, 200, 200], [0, 1, 1], True),
    ],
)
def test_which_values_of_a_mask_are_tumour(values, expected, soft):
    mask, was_soft = binary_mask(np.reshape(values, (1, 1, 3)))
    np.testing.assert_array_equal(mask[0, 0], expected)
    assert (mask.dtype, was_soft) == (np.uint8, soft)


def test_a_jpeg_mask_keeps_the_tumour_and_is_warned_about(tmp_path, head):
    save(tmp_path / "images/p/a.png", head(dtype=np.uint8))
    save(tmp_path / "masks/p/a.jpg", tumour())
    (case,), findings, _ = read(tmp_path)
    assert told(findings, "warning") == {("a.jpg", "soft-mask")}
    np.testing.assert_array_equal(case.mask[0], tumour(1))


def test_masks_that_can_not_be_meant_are_told(tmp_path, head):
    masks = {"everywhere": np.full((48, 48), 9, np.uint8), "below.": -tumour(1, np.int16)}
    for seed, (name, mask) in enumerate(masks.items()):
        save(tmp_path / f"images/p/{name}.png", head(seed, dtype=np.uint8))
        save(tmp_path / f"masks/p/{name}.tif", mask)
    (case,), findings, _ = read(tmp_path)
    assert told(findings, "warning") == {("everywhere.tif", "mask-everywhere")}
    assert told(findings) == {("below..tif", "mask-values")}
    assert case.mask.all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_stack_is_a_case_of_as_many_slices_as_pages(tmp_path, head, dtype):
    stack = np.stack([head(seed, dtype=dtype) for seed in range(4)])
    masks = np.stack([tumour(top=top) for top in (5, 10, 15, 20)])
    for name, n_pages in (("whole", 4), ("short", 3)):
        save(tmp_path / f"images/{name}.tif", stack if name == "whole" else stack[::-1])
        save(tmp_path / f"masks/{name}.tif", masks[:n_pages])
    (case,), findings, _ = read(tmp_path, spacing_mm=(5.0, 0.5, 0.5))
    np.testing.assert_array_equal(case.images[..., 0], load(tmp_path / "images/whole.tif"))
    np.testing.assert_array_equal(case.mask, masks > 0)
    assert case.slice_names == ("whole-0", "whole-1", "whole-2", "whole-3")
    assert case.spacing_mm == (5.0, 0.5, 0.5)
    assert told(findings) == {("short.tif", "mask-shape")}


def test_slices_of_a_pattern_are_sorted_as_numbers_and_a_mask_is_no_image(tmp_path, head):
    numbers = (2, 10, 9)
    for number in numbers:
        save(tmp_path / f"p1_{number}.png", head(number, dtype=np.uint8))
        save(tmp_path / f"p1_{number}_mask.png", tumour(top=number))
    layout = LayoutRecipe(images={"t2w": "{patient}_{slice}.png"}, mask="{patient}_{slice}_mask.png")
    (case,), findings, _ = read(tmp_path, layout)
    assert not told(findings)
    assert (case.patient, case.modalities, case.slice_names) == ("p1", ("t2w",), ("p1_2", "p1_9", "p1_10"))
    for index, number in enumerate(sorted(numbers)):
        np.testing.assert_array_equal(case.images[index, ..., 0], load(tmp_path / f"p1_{number}.png"))
        np.testing.assert_array_equal(case.mask[index], tumour(1, top=number))


def test_modalities_of_a_pattern_are_channels_and_several_labels_stay_as_they_are(tmp_path, head):
    for visit in "ab":
        for index, modality in enumerate(("t1", "flair")):
            save(tmp_path / f"p1/{visit}_{modality}.png", head(index, dtype=np.uint16))
        save(tmp_path / f"p1/{visit}_seg.png", tumour(4) + tumour(2, top=25))
    save(tmp_path / "p1/b_seg.png", tumour(3))
    layout = LayoutRecipe(
        images={"t1n": "{patient}/{visit}_t1.png", "t2f": "{patient}/{visit}_flair.png"},
        mask="{patient}/{visit}_seg.png",
        labels={"oedema": 2, "enhancing": 4},
    )
    (case,), findings, source = read(tmp_path, layout)
    assert case.modalities == ("t1n", "t2f")
    np.testing.assert_array_equal(case.images[0, ..., 1], load(tmp_path / "p1/a_flair.png"))
    np.testing.assert_array_equal(case.mask[0], load(tmp_path / "p1/a_seg.png"))
    assert source.label_map == {"background": 0, "oedema": 2, "enhancing": 4}
    assert told(findings) == {("b_t1.png", "mask-values")}


def test_the_one_label_of_a_layout_is_what_the_tumour_gets(tmp_path, head):
    save(tmp_path / "images/p_1.png", head(dtype=np.uint8))
    save(tmp_path / "masks/p_1.png", tumour(255))
    (case,), _, source = read(tmp_path, by_slices(labels={"lesion": 4}))
    assert source.label_map == {"background": 0, "lesion": 4}
    np.testing.assert_array_equal(case.mask[0], tumour(4))


def test_a_slice_without_its_mask_breaks_the_case_so_that_neighbours_are_true(tmp_path, head):
    for number in range(1, 6):
        save(tmp_path / f"images/p_{number}.png", head(number, dtype=np.uint8))
        if number != 3:
            save(tmp_path / f"masks/p_{number}.png", tumour())
    save(tmp_path / "images/p_01.png", head(8, dtype=np.uint8))
    save(tmp_path / "masks/p_01.png", tumour())
    cases, findings, _ = read(tmp_path, by_slices())
    assert [(case.case, case.n_slices) for case in cases] == [("p", 2), ("p_2", 2)]
    assert told(findings) == {("p_3.png", "no-mask"), ("p_1.png", "duplicate-slice")}


def two_patients(folder, head):
    """Two slices each of patients `good` and `odd`."""
    for patient in ("good", "odd"):
        for number in (1, 2):
            save(folder / f"images/{patient}_{number}.png", head(number, dtype=np.uint8))
            save(folder / f"masks/{patient}_{number}.png", tumour())


@pytest.mark.parametrize(
    ("shape", "dtype", "mask_dtype", "rule"),
    [
        ((40, 48), np.uint8, np.uint8, "unlike-size"),
        ((48, 48), np.uint16, np.uint8, "unlike-type"),
        ((48, 48), np.uint8, np.uint16, "unlike-type"),
    ],
)
def test_a_slice_unlike_the_others_is_named_and_its_case_left_out(tmp_path, head, shape, dtype, mask_dtype, rule):
    two_patients(tmp_path, head)
    save(tmp_path / "images/odd_2.png", head(2, shape, dtype))
    save(tmp_path / "masks/odd_2.png", tumour(np.iinfo(mask_dtype).max, mask_dtype, shape))
    (case,), findings, _ = read(tmp_path, by_slices())
    assert case.patient == "good"
    assert told(findings) == {("odd_2.png", rule)}


def test_a_damaged_slice_and_a_case_too_large_are_left_out(tmp_path, head, monkeypatch):
    two_patients(tmp_path, head)
    damaged = tmp_path / "images/odd_2.png"
    damaged.write_bytes(damaged.read_bytes()[:-60])
    (case,), findings, _ = read(tmp_path, by_slices())
    assert (case.patient, told(findings)) == ("good", {("odd_2.png", "unreadable")})
    # Two slices, image and mask.
    monkeypatch.setattr(pairs, "MAX_CASE_BYTES", 2 * 2 * 48 * 48 - 1)
    cases, findings, _ = read(tmp_path, by_slices())
    assert not cases
    assert told(findings) == {("odd_2.png", "unreadable"), ("good_2.png", "too-large")}


def test_a_type_that_no_store_keeps_is_an_error(tmp_path, head):
    save(tmp_path / "images/p/a.tif", head(dtype=np.int64))
    save(tmp_path / "masks/p/a.png", tumour())
    cases, findings, _ = read(tmp_path)
    assert not cases
    assert told(findings) == {("a.tif", "type")}


@pytest.mark.parametrize(
    ("images", "mask", "says"),
    [
        ("images/{patient}.png", None, "no mask"),
        ("images/{patient}.png", "masks/{patient}_{slice}.png", "differ"),
        ("images/{slice}.png", "masks/{slice}.png", "{patient}"),
        ("images/{slice}_{patient}.png", "masks/{slice}_{patient}.png", "no number"),
    ],
)
def test_patterns_that_can_not_work_are_wrong_use(tmp_path, head, images, mask, says):
    save(tmp_path / "images/p_1.png", head(dtype=np.uint8))
    with pytest.raises(UsageError, match=says):
        read(tmp_path, LayoutRecipe(images={"t1c": images}, mask=mask))


def table(folder, head, text, encoding="utf-8-sig"):
    """Three pictures, a mask, and a CSV that tells which is whose."""
    for seed, name in enumerate("abc"):
        save(folder / f"scans/{name}.png", head(seed, dtype=np.uint8))
    save(folder / "truth.png", tumour())
    (folder / "pairs.csv").write_bytes(text.encode(encoding))
    return folder


def test_rows_of_a_csv_are_slices_of_the_case_they_name(tmp_path, head):
    rows = """Patient, image, mask, case, slice, tumour_type, remark
        Müller,scans/b.png,truth.png,one,10,glioma,"late, but fine"
        Müller,scans/a.png,truth.png,one,9,glioma,
        Müller,scans/c.png,truth.png,two,1,,
        ,,,,,,
    """
    cases, findings, source = read(table(tmp_path, head, rows.replace("        ", "").replace("\n", "\r\n")))
    assert not told(findings)
    assert [(c.patient, c.case, c.slice_names, c.tumour_type) for c in cases] == [
        ("Müller", "M_ller_one", ("a", "b"), "glioma"),
        ("Müller", "M_ller_two", ("c",), None),
    ]
    np.testing.assert_array_equal(cases[0].images[1, ..., 0], load(tmp_path / "scans/b.png"))
    assert len(source.files) == 4


def test_rows_without_slice_numbers_are_cases_of_their_own(tmp_path, head):
    rows = "image,mask,patient\nscans/a.png,truth.png,p\nscans/b.png,truth.png,p\nscans/gone.png,truth.png,p\n"
    cases, findings, _ = read(table(tmp_path, head, rows))
    assert [(case.patient, case.n_slices) for case in cases] == [("p", 1), ("p", 1)]
    (error,) = [finding for finding in findings if finding.weight == "error"]
    assert (error.rule, "line 4" in error.message) == ("no-image", True)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("image,mask,patient\n/etc/passwd,truth.png,p\n", "leads out"),
        ("image,mask,patient\nscans/a.png,../truth.png,p\n", "leads out"),
        ("image,mask,patient\nscans/../../x.png,truth.png,p\n", "leads out"),
        ("image,mask,patient\n..\\x.png,truth.png,p\n", "leads out"),
        ("image,mask,patient\nlink/secret.png,truth.png,p\n", "leads out"),
        ('image,mask,patient\n"/\nx",truth.png,p\n', "leads out"),
        ("image,mask,patient,slice\nscans/a.png,truth.png,p,one\n", "not a number"),
        ("image,mask,patient,slice\nscans/a.png,truth.png,p,²\n", "not a number"),
        (f"image,mask,patient\nscans/a.png,truth.png,{'x' * 200_000}\n", "not CSV"),
        ('image,mask,"patient\nscans/a.png,truth.png,p\n', "first line"),
    ],
)
def test_a_hostile_csv_is_refused_in_one_line(tmp_path, head, rows, says):
    folder = table(tmp_path / "data", head, rows)
    save(tmp_path / "secret.png", head(dtype=np.uint8))
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(SourceError, match=says) as caught:
        read(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'pairs.csv'}: ")
    assert "\n" not in message
    assert len(message) < 400


def test_an_absolute_path_is_refused_even_where_it_leads_into_the_folder(tmp_path, head):
    inside = tmp_path / "scans/a.png"
    with pytest.raises(SourceError, match="relative"):
        read(table(tmp_path, head, f"image,mask,patient\n{inside},truth.png,p\n"))


def test_a_csv_in_another_encoding_too_long_or_beside_another_is_refused(tmp_path, head, monkeypatch):
    rows = "image,mask,patient\nscans/a.png,truth.png,Müller\nscans/b.png,truth.png,p\n"
    with pytest.raises(SourceError, match="UTF-8"):
        read(table(tmp_path, head, rows, "latin-1"))
    table(tmp_path, head, rows)
    for limit, value in (("MAX_CSV_ROWS", 1), ("MAX_CSV_BYTES", 20)):
        with monkeypatch.context() as patched:
            patched.setattr(pair_layouts, limit, value)
            with pytest.raises(SourceError, match="split"):
                read(tmp_path)
    (tmp_path / "more.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(SourceError, match="several CSVs"):
        read(tmp_path)


@settings(max_examples=500, deadline=None, database=None)
@given(st.text() | st.lists(st.text('ab./\\",\r\n\0é', max_size=8), max_size=6).map(",".join))
def test_no_csv_raises_anything_but_our_own_error(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "pairs.csv").write_bytes(b"image,mask,patient,case\n" + text.encode(errors="replace"))
    message = ""
    try:
        assert not read(folder)[0]
    except SourceError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    """Bytes of a picture by the kind of file; the stack is longer than 16 KiB."""
    folder = tmp_path_factory.mktemp("whole")
    noise = np.random.default_rng(0).integers(0, 255, (3, 80, 80)).astype(np.uint8)
    files = [save(folder / "a.png", noise[0]), save(folder / "a.jpg", noise[1]), save(folder / "a.tif", noise)]
    contents = {file.suffix: file.read_bytes() for file in files}
    return lambda: contents  # a function, as hypothesis spells out every value that a test is given


def outcome(folder, suffix, role, content):
    """Reads a pair of which one file has this content; either a case comes of it or an error, never both."""
    for name in ("images", "masks"):
        save(folder / f"{name}/p/a{suffix}", np.zeros((80, 80), np.uint8))
    (folder / f"{role}/p/a{suffix}").write_bytes(content)
    cases, findings, _ = read(folder)
    assert bool(cases) != any(finding.weight == "error" for finding in findings)
    return bool(cases)


@settings(max_examples=500, deadline=None, database=None)
@given(
    suffix=st.sampled_from([".png", ".jpg", ".tif"]),
    role=st.sampled_from(["images", "masks"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_no_damaged_file_raises(tmp_path_factory, whole_files, suffix, role, changes):
    content = bytearray(whole_files()[suffix])
    for reach, from_end, value in changes:
        content[-1 - reach if from_end else reach] = value
    outcome(tmp_path_factory.mktemp("fuzz"), suffix, role, bytes(content))


@pytest.mark.parametrize("role", ["images", "masks"])
def test_a_stack_cut_short_anywhere_is_an_error(tmp_path, whole_files, role):
    content = whole_files()[".tif"]
    assert len(content) > 4 * 4096
    for length in range(0, len(content), 4096):
        assert not outcome(tmp_path, ".tif", role, content[:length])


def lgg_scan(folder, numbers, colours, patient="TCGA_CS_4941"):
    scan = f"{patient}_19960909"
    for number in numbers:
        save(folder / scan / f"{scan}_{number}.tif", colours(number))
        save(folder / scan / f"{scan}_{number}_mask.tif", tumour())
    return folder / scan


def test_an_lgg_scan_is_a_case_whose_colours_are_modalities_and_a_gap_breaks_it(tmp_path, head):
    def colours(number):
        return np.stack([head(10 * number + c, dtype=np.uint8) for c in range(3)], axis=-1)

    scan = lgg_scan(tmp_path / "kaggle_3m", (1, 2, 9, 10, 11), colours)
    # As the set comes: with a table of genes that is none of pairs.
    (tmp_path / "kaggle_3m/data.csv").write_text("Patient,RNASeqCluster\nTCGA_CS_4941,2\n")
    cases, findings, source = read(tmp_path / "kaggle_3m")
    assert not findings
    assert [(case.patient, case.case, len(case.slice_names)) for case in cases] == [
        ("TCGA_CS_4941", "TCGA_CS_4941_19960909", 2),
        ("TCGA_CS_4941", "TCGA_CS_4941_19960909_2", 3),
    ]
    assert cases[1].slice_names == tuple(f"{scan.name}_{number}" for number in (9, 10, 11))
    for case in cases:
        assert case.modalities == ("t1n", "t2f", "t1c")
        for index, name in enumerate(case.slice_names):
            np.testing.assert_array_equal(case.images[index], load(scan / f"{name}.tif"))
        np.testing.assert_array_equal(case.mask, np.stack([tumour(1)] * case.n_slices))
    assert len(source.files) == 10
    assert [case.case for case in read(scan)[0]] == [case.case for case in cases]


def test_flair_in_place_of_a_missing_sequence_is_warned_about(tmp_path, head):
    lgg_scan(tmp_path, (1, 2), lambda number: np.repeat(head(number, dtype=np.uint8)[..., None], 3, axis=-1))
    (case,), findings, _ = read(tmp_path)
    assert case.n_slices == 2
    assert {rule for _, rule in told(findings, "warning")} == {"same-modalities"}


def test_an_lgg_slice_without_mask_is_an_error(tmp_path, head):
    scan = lgg_scan(tmp_path, (1, 2), lambda number: np.stack([head(number + c, dtype=np.uint8) for c in range(3)], -1))
    (scan / f"{scan.name}_2_mask.tif").unlink()
    cases, findings, _ = read(tmp_path)
    assert [case.n_slices for case in cases] == [1]
    assert told(findings) == {(f"{scan.name}_2.tif", "no-mask")}


@pytest.mark.real_scans
@pytest.mark.skipif(not LGG_SCANS.is_dir(), reason="../shared/data/lgg is not here")
def test_a_real_lgg_scan_comes_back_voxel_for_voxel_from_the_pictures_it_is_told_in(tmp_path):
    scan = sorted(LGG_SCANS.iterdir())[0]
    volumes = [np.asarray(nib.load(scan / f"{scan.name}_{name}.nii.gz").dataobj) for name in ("t1", "flair", "t1ce")]
    truth = np.asarray(nib.load(scan / f"{scan.name}_seg.nii.gz").dataobj) > 0
    colours = np.stack(volumes, axis=-1).astype(np.uint8)
    for number in range(colours.shape[2]):
        stem = tmp_path / scan.name / f"{scan.name}_{number + 1}"
        save(stem.with_suffix(".tif"), colours[:, :, number])
        save(stem.with_name(f"{stem.name}_mask.tif"), (truth[:, :, number] * 255).astype(np.uint8))
    (case,), findings, _ = read(tmp_path)
    assert not told(findings)
    np.testing.assert_array_equal(case.images, np.moveaxis(colours, 2, 0))
    np.testing.assert_array_equal(case.mask, np.moveaxis(truth, 2, 0))


def test_a_folder_without_any_known_layout_says_what_is_understood(tmp_path, head):
    save(tmp_path / "pictures/a.png", head(dtype=np.uint8))
    with pytest.raises(SourceError, match=r"images/ and masks/.*CSV.*TCGA.*--pattern"):
        read(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        read(tmp_path / "missing")
    with pytest.raises(SourceError, match="fits the patterns"):
        read(tmp_path, by_slices())
