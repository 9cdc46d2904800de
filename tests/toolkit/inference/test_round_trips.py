"""What a source reads as truth, written as a prediction is, is the mask file it came from.

The way is Case, mask, file; at its end, programs of others read both files: the same voxels, at the
same place in the world.
"""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import h5py
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from nibabel import orientations

from toolkit.config import LayoutRecipe
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources import brats
from toolkit.data.sources.brats import open_brats
from toolkit.data.sources.decathlon import open_decathlon
from toolkit.data.sources.dicom_cases import open_dicom_cases
from toolkit.data.sources.figshare import figshare_cases
from toolkit.data.sources.nifti_layout import open_layout
from toolkit.data.sources.pair_layouts import LGG_MODALITIES
from toolkit.data.sources.pairs import open_pairs
from toolkit.data.sources.scan_files import find_scans, lone_file
from toolkit.data.sources.scans import read_scan
from toolkit.inference.outputs import write_mask

DATA = Path(__file__).parents[3] / "../shared/data"
DICOM_FILES = Path(__file__).parents[1] / "data/sources/dicom_files.py"
SHAPE = (11, 9, 6)
TUMOUR, THREE = {"tumour": 1}, {"core": 1, "oedema": 2, "enhancing": 3}
PLACE = ("GetSize", "GetOrigin", "GetSpacing", "GetDirection")


def noise(shape=SHAPE, top=200, seed=0):
    """No two voxels can be exchanged without being noticed."""
    return np.random.default_rng(seed).integers(0, top, shape)


def truth(shape=SHAPE, labels=TUMOUR, seed=1):
    return noise(shape, len(labels) + 1, seed).astype(np.uint8)


def oblique():
    """Tilted about two axes, each voxel of 0.9 x 1.1 x 5 mm."""
    a, b = np.deg2rad([12, -7])
    tilt = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ turn @ np.diag([0.9, 1.1, 5.0])
    affine[:3, 3] = -31.5, 20.25, -12.125
    return affine


def save_volume(path, data, codes="RAS", slope=None):
    """A volume whose axes run as `codes` say."""
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(codes))
    affine = oblique() @ orientations.inv_ornt_aff(turn, data.shape[:3])
    image = nib.Nifti1Image(orientations.apply_orientation(data, turn), affine)
    image.set_qform(affine, code=1)
    if slope is not None:
        image.header.set_slope_inter(slope, -3.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


# Each kind of data set: written by a library of others; then its cases, the scans a user would
# predict, in the order of the slices of the cases, and the mask file of each.


def volume(codes="RAS", dtype=np.int16, slope=None, shape=SHAPE):
    def make(folder, gate):
        save_volume(folder / "p1_t1.nii.gz", noise(shape).astype(dtype), codes, slope)
        save_volume(folder / "p1_truth.nii.gz", truth(labels=THREE), codes)
        layout = LayoutRecipe(images={"t1c": "{patient}_t1.nii.gz"}, mask="{patient}_truth.nii.gz", labels=THREE)
        source = open_layout(folder, layout, gate, allow_missing=False, spacing_mm=None)
        return source, [lone_file(folder / "p1_t1.nii.gz")], [folder / "p1_truth.nii.gz"]

    return make


def user_pattern(folder, gate):
    layout = LayoutRecipe(images={"t1c": "{patient}/{visit}/gd.nii"}, mask="truth/{patient}_{visit}.nii", labels=TUMOUR)
    for number, visit in enumerate(("p1/a", "p1/b", "p2/a")):
        save_volume(folder / visit / "gd.nii", noise(seed=number).astype(np.int16), "LPS")
        save_volume(folder / f"truth/{visit.replace('/', '_')}.nii", truth(seed=number), "LPS")
    source = open_layout(folder, layout, gate, allow_missing=False, spacing_mm=None)
    return source, find_scans([folder / "p1", folder / "p2"]), sorted((folder / "truth").iterdir())


def brats_folder(folder, gate):
    name = "BraTS-GLI-00001-000"
    for number, modality in enumerate(brats.MODALITIES):
        save_volume(folder / name / f"{name}-{modality}.nii.gz", noise(seed=number).astype(np.int16), "LPS")
    mask = folder / name / f"{name}-seg.nii.gz"
    save_volume(mask, truth(labels=THREE), "LPS")
    source = open_brats(folder, brats.MODALITIES, gate, allow_missing=False, spacing_mm=None)
    return source, find_scans([folder], brats.MODALITIES), [mask]


def decathlon(folder, gate):
    save_volume(folder / "imagesTr/b_1.nii.gz", noise((*SHAPE, 4)).astype(np.float32), "LAS")
    save_volume(folder / "labelsTr/b_1.nii.gz", truth(labels=THREE), "LAS")
    index = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": [{"image": "./imagesTr/b_1.nii.gz", "label": "./labelsTr/b_1.nii.gz"}],
    }
    (folder / "dataset.json").write_text(json.dumps(index))
    source = open_decathlon(folder, gate, spacing_mm=None)
    return source, [lone_file(folder / "imagesTr/b_1.nii.gz")], [folder / "labelsTr/b_1.nii.gz"]


def metaimage(folder, gate):
    for name, data in (("p1_t1", noise().astype(np.int16)), ("p1_truth", truth())):
        image = sitk.GetImageFromArray(data.T)
        image.SetDirection((oblique()[:3, :3] / [0.9, 1.1, 5.0]).ravel())
        image.SetSpacing((0.9, 1.1, 5.0))
        image.SetOrigin((-31.5, 20.25, -12.125))
        sitk.WriteImage(image, str(folder / f"{name}.mha"))
    layout = LayoutRecipe(images={"t1c": "{patient}_t1.mha"}, mask="{patient}_truth.mha", labels=TUMOUR)
    source = open_layout(folder, layout, gate, allow_missing=False, spacing_mm=None)
    return source, [lone_file(folder / "p1_t1.mha")], [folder / "p1_truth.mha"]


def pairs(ending, dtype=np.uint8, pages=None):
    """Two pictures of one person with their masks; of several pages both are stacks."""

    def make(folder, gate):
        for role in ("images", "masks"):
            (folder / role / "p1").mkdir(parents=True)
        masks = []
        for name in "ab":
            image, mask = folder / f"images/p1/{name}{ending}", folder / f"masks/p1/{name}{ending if pages else '.png'}"
            shape = (pages or 1, 12, 10)
            values = noise(shape, np.iinfo(dtype).max, ord(name)).astype(dtype), truth(shape, seed=ord(name)) * 255
            for path, data in zip((image, mask), values, strict=True):
                if pages:
                    tifffile.imwrite(path, data, photometric="minisblack")
                else:
                    cv2.imwrite(str(path), data[0])
            masks.append(mask)
        return open_pairs(folder, gate, None, None), find_scans([folder / "images"]), masks

    return make


def lgg(folder, gate):
    """Colours of a picture are modalities; slice 10 comes after slice 9."""
    scan = folder / "TCGA_CS_4941_19960909/TCGA_CS_4941_19960909"
    scan.parent.mkdir()
    masks = [Path(f"{scan}_{number}_mask.tif") for number in range(8, 12)]
    for number, mask in enumerate(masks):
        tifffile.imwrite(
            mask.with_name(mask.name.replace("_mask", "")), noise((12, 10, 3), seed=number).astype(np.uint8)
        )
        tifffile.imwrite(mask, truth((12, 10), seed=number) * np.uint8(255))
    return open_pairs(folder, gate, None, None), find_scans([folder], LGG_MODALITIES), [masks]


KINDS = {
    "NIfTI, axes L P S": volume("LPS"),
    "NIfTI, axes P I R": volume("PIR", np.uint8),
    "NIfTI, axes S A L, float64 with slope": volume("SAL", np.float64, slope=0.37),
    "NIfTI, axes I L A, int16 with slope": volume("ILA", np.int16, slope=0.5),
    "NIfTI, 4-D of one volume": volume("RAI", shape=(*SHAPE, 1)),
    "NIfTI by a pattern": user_pattern,
    "BraTS": brats_folder,
    "Decathlon": decathlon,
    "MetaImage": metaimage,
    "PNG, 8 bit": pairs(".png"),
    "PNG, 16 bit": pairs(".png", np.uint16),
    "JPEG": pairs(".jpg"),
    "TIFF of several pages": pairs(".tif", np.uint16, pages=3),
    "LGG, TIFF in colours": lgg,
}


def seen(file):
    """A picture or volume, or pictures one behind the other, as SimpleITK reads them."""
    return sitk.ReadImage(str(file) if isinstance(file, Path) else [str(page) for page in file])


def assert_same_voxels(written, original):
    ours, theirs = (sitk.GetArrayFromImage(seen(file)).squeeze() for file in (written, original))
    np.testing.assert_array_equal(ours, theirs)


def assert_same_place(written, original):
    for place in PLACE:
        np.testing.assert_allclose(getattr(seen(written), place)(), getattr(seen(original), place)(), atol=1e-6)


def assert_written_is_truth(written, original):
    """Both as programs of others read them."""
    assert_same_voxels(written, original)
    if written.suffix == ".gz":
        assert_same_place(written, original)
        if original.suffix != ".mha":
            np.testing.assert_allclose(nib.load(written).affine, nib.load(original).affine, atol=1e-6)


def assert_all_come_back(cases, label_map, scans, originals, out):
    """Write the truth of each case as the prediction of its scans, of which each may hold some of the slices."""
    labels = {name: value for name, value in label_map.items() if value > 0}
    remaining = zip(scans, originals, strict=True)
    for case in cases:
        start = 0
        while start < case.n_slices:
            files, original = next(remaining)
            scan = read_scan(files, case.modalities)
            stop = start + scan.case.n_slices
            np.testing.assert_array_equal(scan.case.images, case.images[start:stop])
            mask = case.mask[start:stop]
            assert mask.any()
            assert_written_is_truth(write_mask(scan, mask, out, files.name, labels).path, original)
            start = stop
    assert next(remaining, None) is None, "every scan is of a case"


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_comes_back_voxel_for_voxel(tmp_path, kind):
    gate = IntegrityGate()
    (tmp_path / "data").mkdir()
    source, scans, originals = KINDS[kind](tmp_path / "data", gate)
    assert_all_come_back(source.cases, source.label_map, scans, originals, tmp_path / "out")
    assert not [finding for finding in gate.findings if finding.weight == "error"]


def assert_slices_come_back(folder, tmp_path):
    """Slices of the figshare set; h5py reads what was drawn, columns first."""
    gate, originals = IntegrityGate(), []
    cases = list(figshare_cases(folder, gate))
    files = [folder / f"{name}.mat" for case in cases for name in case.slice_names]
    assert sorted(files) == sorted(folder.iterdir())
    for number, file in enumerate(files):
        with h5py.File(file) as slice_file:
            drawn = slice_file["cjdata/tumorMask"][()].T
        originals.append(tmp_path / f"drawn_{number}.png")
        cv2.imwrite(str(originals[-1]), np.where(drawn > 0, np.uint8(255), np.uint8(0)))
    assert_all_come_back(cases, TUMOUR, map(lone_file, files), originals, tmp_path / "out")


def test_the_truth_of_a_figshare_slice_comes_back_as_a_picture(tmp_path, figshare_file, head):
    for number in (9, 10, 12):
        figshare_file(tmp_path / f"data/{number}.mat", head(number), truth((48, 48), seed=number))
    assert_slices_come_back(tmp_path / "data", tmp_path)


def write_seg(path, series, mask, names):
    """A DICOM SEG as another program writes it.

    Args:
        path: the file.
        series: its source images, in the order of the slices.
        mask: `(slices, rows, columns)` segment numbers.
        names: of the segments from 1.
    """
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes

    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(names, start=1)
    ]
    highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in series],
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=7,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="somebody",
        manufacturer_model_name="else",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)


@pytest.mark.filterwarnings("ignore::UserWarning:highdicom")
def test_the_truth_of_a_dicom_series_comes_back_as_nifti_and_as_seg(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    files = SimpleNamespace(**runpy.run_path(str(DICOM_FILES)))
    series, original = files.write_series(tmp_path / "data/scan", noise().astype(np.int16)), tmp_path / "data/seg.dcm"
    drawn = truth(labels=THREE)
    write_seg(original, series, drawn.T, ["core", "enhancing", "oedema"])

    gate = IntegrityGate()
    source = open_dicom_cases(tmp_path / "data", gate, ("t1c",), allow_missing=False)
    (case,), (found,) = source.cases, find_scans([tmp_path / "data/scan"])
    scan = read_scan(found)
    np.testing.assert_array_equal(scan.case.images, case.images)
    labels = {name: value for name, value in source.label_map.items() if value > 0}
    written = write_mask(scan, case.mask, tmp_path / "out", "p1", labels)
    assert not [finding for finding in gate.findings if finding.weight == "error"]

    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen(written.path)), drawn.T)
    assert_same_place(written.path, series)
    ours, theirs = (highdicom.seg.segread(path) for path in (written.dicom_seg, original))
    back, stored = (seg.get_volume(combine_segments=True) for seg in (ours, theirs))
    np.testing.assert_array_equal(back.array, stored.array)
    np.testing.assert_allclose(back.affine, stored.affine, atol=1e-6)
    for number in (1, 2, 3):
        labels = {seg.get_segment_description(number).segment_label for seg in (ours, theirs)}
        assert len(labels) == 1


REAL = {
    "tcia_progression": ("{patient}/{visit}_Scan_T1.nii.gz", "{patient}/{visit}_Mask.nii.gz", TUMOUR),
    "lgg": ("{patient}/{patient}_flair.nii.gz", "{patient}/{patient}_seg.nii.gz", TUMOUR),
    "brats_samples": ("{patient}/{patient}-t1c.nii.gz", "{patient}/{patient}-seg-automatic.nii.gz", THREE),
}


@pytest.mark.real_scans
@pytest.mark.parametrize("folder", REAL)
def test_the_truth_of_real_volumes_comes_back(tmp_path, folder):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no real scans at {DATA / folder}")
    image, mask, labels = REAL[folder]
    gate, layout = IntegrityGate(), LayoutRecipe(images={"t1c": image}, mask=mask, labels=labels)
    source = open_layout(DATA / folder, layout, gate, allow_missing=False, spacing_mm=None)
    scans, originals = map(lone_file, source.files[::2]), source.files[1::2]
    assert_all_come_back(source.cases, source.label_map, scans, originals, tmp_path)


@pytest.mark.real_scans
def test_the_truth_of_real_slices_comes_back(tmp_path):
    if not (DATA / "figshare/full_size").is_dir():
        pytest.skip(f"no real scans at {DATA / 'figshare/full_size'}")
    assert_slices_come_back(DATA / "figshare/full_size", tmp_path)
