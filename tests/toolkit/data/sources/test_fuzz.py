"""Whatever is wrong with a file from a stranger, a source reads it or says in one line why not.

Never a traceback, never a hang, never more than 2 GB; and a file that was cut short is never taken
for a whole one.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from toolkit.data.sources.figshare import read_slice
from toolkit.data.sources.pictures import read_picture
from toolkit.data.sources.scan_files import find_scans
from toolkit.data.sources.scans import read_scan
from toolkit.data.sources.volumes import read_volumes
from toolkit.errors import SourceError

REPOSITORY = Path(__file__).parents[4]
DATA = REPOSITORY / "../shared/data"
FUZZ = Path(__file__).with_name("fuzz_sources.py")
KINDS = ["figshare", "nifti", "nifti-gz", "metaimage", "decathlon", "png", "jpeg", "tiff", "tiff-pages", "csv"]
KINDS += ["dicom", "dicom-rle", "dicom-jpeg2000", "dicom-enhanced", "dicom-seg", "layout"]
CUT_EVERY_BYTES = 4096
RLE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does it")
@pytest.mark.parametrize("kind", KINDS)
def test_500_damaged_inputs_are_read_or_refused(tmp_path, kind):
    if kind == "dicom-jpeg2000":
        pytest.importorskip("openjpeg")
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, FUZZ, kind],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )
    assert done.returncode == 0, f"the input read last is in {tmp_path}\n{done.stderr[-8000:]}"
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    assert told["examples"] == 500
    # Neither is every damage noticed, nor does all of it miss what matters.
    assert told["read"] >= 10
    assert told["refused"] >= 10
    assert told["peak_bytes"] < 2e9


def read_whole(path):
    """Read a file alone in its folder with the reader of its kind."""
    if path.suffix == ".mat":
        return read_slice(path)
    if path.suffix in (".png", ".jpg", ".tif"):
        return read_picture(path)
    if path.suffix == ".dcm":
        (files,) = find_scans([path.parent])
        return read_scan(files)
    return read_volumes(path)


def refused_wherever_cut(path):
    whole = path.read_bytes()
    read_whole(path)
    lengths = range(0, len(whole), CUT_EVERY_BYTES)
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError) as caught:
            read_whole(path)
        assert str(path.parent) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    return len(lengths)


def noise(shape, dtype=np.uint16):
    """What no compression makes smaller."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def picture(folder, name):
    cv2.imwrite(str(folder / name), noise((450, 450), np.uint8))
    return folder / name


def pages(folder, dtype, compression=None):
    tifffile.imwrite(folder / "a.tif", noise((4, 250, 200), dtype), photometric="minisblack", compression=compression)
    return folder / "a.tif"


def dicom(folder, compress=None):
    files = runpy.run_path(str(Path(__file__).with_name("dicom_files.py")))
    data = noise((320, 320, 1), np.int16)
    return files["write_series"](folder, data, compress=compress)[0]


def volume(folder, name):
    nib.save(nib.Nifti1Image(noise((70, 60, 25)), np.diag([0.9, 1.1, 5, 1])), folder / name)
    return folder / name


def metaimage(folder, compress):
    sitk.WriteImage(sitk.GetImageFromArray(noise((25, 60, 70))), str(folder / "a.mha"), compress)
    return folder / "a.mha"


WRITERS = {
    "PNG": lambda folder: picture(folder, "a.png"),
    "JPEG": lambda folder: picture(folder, "a.jpg"),
    "TIFF": lambda folder: picture(folder, "a.tif"),
    "TIFF pages, 8 bit": lambda folder: pages(folder, np.uint8),
    "TIFF pages, 16 bit": lambda folder: pages(folder, np.uint16),
    "TIFF pages, compressed": lambda folder: pages(folder, np.uint16, "zlib"),
    "DICOM": dicom,
    "DICOM, run lengths": lambda folder: dicom(folder, RLE),
    "DICOM, JPEG 2000": lambda folder: dicom(folder, JPEG_2000),
    "NIfTI": lambda folder: volume(folder, "a.nii"),
    "NIfTI, compressed": lambda folder: volume(folder, "a.nii.gz"),
    "MetaImage": lambda folder: metaimage(folder, False),
    "MetaImage, compressed": lambda folder: metaimage(folder, True),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_cut_at_every_4_kib_is_refused(tmp_path, kind):
    if kind == "DICOM, JPEG 2000":
        pytest.importorskip("openjpeg")
    assert refused_wherever_cut(WRITERS[kind](tmp_path)) > 30


@pytest.mark.real_scans
@pytest.mark.parametrize(
    "name",
    [
        "figshare/slices/1.mat",
        "figshare/full_size/59.mat",
        "lgg/TCGA_CS_6290_20000917/TCGA_CS_6290_20000917_t1.nii.gz",
        "tcia_progression/01/Pre_Scan_T1.nii.gz",
    ],
)
def test_a_real_file_cut_at_every_4_kib_is_refused(tmp_path, name):
    if not (DATA / name).exists():
        pytest.skip(f"no real scans at {DATA / name}")
    assert refused_wherever_cut(shutil.copyfile(DATA / name, tmp_path / Path(name).name)) > 10
