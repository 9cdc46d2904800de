"""Reads inputs of one kind damaged in 500 ways, in a process of its own: `python fuzz_sources.py KIND`.

It works in the current folder, where the input that was read last stays behind. It ends with exit
code 0 and a line of JSON (examples, read, refused, peak bytes), or with the example at which a
reader raised something else than an error of ours, hung, or took too much memory.
"""

from __future__ import annotations

import faulthandler
import gzip
import json
import math
import os
import re
import resource
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import h5py
import nibabel as nib
import numpy as np
import tifffile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.decathlon import open_decathlon
from toolkit.data.sources.dicom_cases import open_dicom_cases
from toolkit.data.sources.figshare import figshare_cases, read_slice
from toolkit.data.sources.layout import PLACEHOLDER, match_files
from toolkit.data.sources.pairs import open_pairs
from toolkit.data.sources.pictures import read_picture
from toolkit.data.sources.scan_files import find_scans, lone_file
from toolkit.data.sources.scans import read_scan
from toolkit.data.sources.volumes import read_volumes
from toolkit.data.store import DTYPES
from toolkit.errors import ToolkitError

EXAMPLES = 500
HANG_SECONDS = 10
MOST_BYTES = 2 * 10**9
SHOWN_CHARACTERS = 400
# Spares the machine. Far above what may be used, as Python asks for the length that a header states, and takes
# no more of it than the file has; in DICOM that is up to 4 GiB.
BACKSTOP_BYTES = 8 * 2**30
RLE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"

INTEGERS = [
    number.to_bytes(size, order)
    for size, order in product((1, 2, 4, 8), ("little", "big"))
    for number in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
]
FLOATS = [struct.pack(kind, x) for kind in ("<f", ">f", "<d") for x in (math.nan, math.inf, -1.0, 1e30, 1e-30)]
TEXTS = [
    b"0",
    b"-1",
    b"65535",
    b"9" * 20,
    b"9" * 300,
    b"9" * 5000,
    b"1e999",
    b"nan",
    b"1e-9",
    b"../../",
    b"\0",
    b"\n",
    b"\r",
]
TEXTS += [
    b'"',
    b"'",
    b",",
    b"{",
    b"[" * 5000,
    b"\xe9",
    b"\xe2\x80\xa8",
    b"\x1b[2J",
    rb"\n",
    rb"\u0000",
    rb"\ud800",
    b"null",
]


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Args:
        write: makes a tiny whole input in a folder; returns the files that may be damaged.
        read: reads it as the commands do; returns whether all of it was accepted.
        below: takes a file to what lies below compression or checksums, where damage goes deeper,
            and back.
    """

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], bool]
    below: tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]] | None = None


def voxels(shape: tuple[int, ...], dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def square(shape: tuple[int, ...], value: int = 1) -> np.ndarray:
    """A mask of zeros with a small square of `value` in each slice, the last two axes."""
    mask = np.zeros(shape, np.uint8)
    mask[..., 2:5, 3:6] = value
    return mask


def write_figshare(folder: Path, shape: tuple[int, int] = (12, 10)) -> list[Path]:
    """Two neighbouring slices of a patient as MATLAB 7.3 writes them."""
    fields = {
        "PID": np.array([[ord(letter)] for letter in "MR040240B"], np.uint16),
        "label": np.array([[2.0]]),
        "tumorBorder": np.array([[4.0], [4.0], [9.0], [4.0], [9.0], [10.0]]),
        "tumorMask": square(shape).T,
    }
    paths = [folder / "1.mat", folder / "2.mat"]
    for number, path in enumerate(paths):
        with h5py.File(path, "w", userblock_size=512) as file:
            group = file.create_group("cjdata")
            group.create_dataset("image", data=voxels(shape).T + number, chunks=shape[::-1], compression="gzip")
            for name, values in fields.items():
                group[name] = values
    return paths


def read_figshare(path: Path) -> bool:
    accepted = drain(lambda gate: figshare_cases(path.parent, gate))
    read_slice(path)
    return accepted


def write_nifti(folder: Path, name: str = "head.nii", shape: tuple[int, ...] = (8, 7, 6)) -> list[Path]:
    affine = np.array([[-0.9, 0.1, 0, 9], [0.1, -1.1, 0.2, 12], [0, 0.2, 5, -6], [0, 0, 0, 1]])
    image = nib.Nifti1Image(voxels(shape), affine)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, folder / name)
    return [folder / name]


def write_metaimage(folder: Path) -> list[Path]:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(voxels((6, 7, 8)))
    image.SetSpacing((0.9, 1.1, 5.0))
    sitk.WriteImage(image, str(folder / "head.mha"), True)
    return [folder / "head.mha"]


def read_volume(path: Path) -> bool:
    read_volumes(path)
    read_scan(lone_file(path))
    return True


def write_decathlon(folder: Path) -> list[Path]:
    for name, shape in (("imagesTr/b_1.nii", (8, 7, 6, 2)), ("labelsTr/b_1.nii", (8, 7, 6))):
        (folder / name).parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(voxels(shape) if len(shape) == 4 else square(shape), np.eye(4)), folder / name)
    index = {
        "modality": {"0": "FLAIR", "1": "T1gd"},
        "labels": {"0": "background", "1": "edema"},
        "training": [{"image": "./imagesTr/b_1.nii", "label": "./labelsTr/b_1.nii"}],
    }
    (folder / "dataset.json").write_text(json.dumps(index))
    return [folder / "dataset.json"]


def read_decathlon(path: Path) -> bool:
    return drain(lambda gate: open_decathlon(path.parent, gate, None).cases)


def save_pages(path: Path, data: np.ndarray) -> None:
    tifffile.imwrite(path, data, photometric="minisblack", metadata=None)


def write_pair(ending: str, pages: int = 1, dtype: type = np.uint8) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        paths = [folder / f"{role}/p1/a{ending}" for role in ("images", "masks")]
        for path, data in zip(paths, (voxels((pages, 12, 10), dtype), square((pages, 12, 10), 255)), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Those of several pages are not compressed, so that damage reaches every field of them.
            cv2.imwrite(str(path), data[0]) if pages == 1 else save_pages(path, data)
        return paths

    return write


def read_pair(path: Path) -> bool:
    accepted = drain(lambda gate: open_pairs(path.parents[2], gate, None, None).cases)
    read_picture(path)
    return accepted


def write_table(folder: Path) -> list[Path]:
    write_pair(".png")(folder)
    rows = "image,mask,patient,case,slice\nimages/p1/a.png,masks/p1/a.png,p1,c1,1\n"
    (folder / "pairs.csv").write_text(rows)
    return [folder / "pairs.csv"]


def read_table(path: Path) -> bool:
    return drain(lambda gate: open_pairs(path.parent, gate, None, None).cases)


def write_dicom(compress: str | None = None, side: int = 9) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        import dicom_files

        # Instance numbers of its own make the files the same in every run.
        def edit(dataset, number):
            dataset.SOPInstanceUID = f"1.2.3.4.7.{number}"

        return dicom_files.write_series(folder, dicom_files.voxels((side - 1, side, 2)), edit=edit, compress=compress)

    return write


def write_enhanced(folder: Path) -> list[Path]:
    import dicom_files

    path = folder / "enhanced.dcm"
    data = dicom_files.voxels((8, 9, 3))
    return [dicom_files.write_enhanced(path, data, [1, 0, 2], slopes=[1, 2, 3], SOPInstanceUID="1.2.3.4.7")]


def read_dicom(path: Path) -> bool:
    scans = find_scans([path.parent])
    return len([read_scan(files) for files in scans]) == 1


def write_seg(folder: Path) -> list[Path]:
    """A series, and a binary DICOM SEG of its first two slices."""
    import dicom_files

    write_dicom()(folder)
    item, decimals = dicom_files.item, dicom_files.decimals
    seg = dicom_files.header(SEGMENTATION, SOPInstanceUID="1.2.9", SeriesInstanceUID="1.2.8", Modality="SEG")
    seg.SegmentationType = "BINARY"
    seg.SegmentSequence = [item(SegmentNumber=1, SegmentLabel="Tumour")]
    seg.ReferencedSeriesSequence = [item(SeriesInstanceUID="1.2.3.4.5")]
    seg.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=decimals(dicom_files.TILT[:, :2].T.ravel()))],
            PixelMeasuresSequence=[item(PixelSpacing=decimals([dicom_files.ROW_MM, dicom_files.COLUMN_MM]))],
        )
    ]
    seg.PerFrameFunctionalGroupsSequence = [
        item(
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
            PlanePositionSequence=[item(ImagePositionPatient=decimals(dicom_files.position_mm(number)))],
        )
        for number in range(2)
    ]
    frames = square((2, 9, 8))
    dicom_files.set_pixels(seg, frames)
    seg.NumberOfFrames, seg.BitsAllocated, seg.BitsStored, seg.HighBit = len(frames), 1, 1, 0
    seg.PixelData = np.packbits(frames, bitorder="little").tobytes()
    return [dicom_files.save(seg, folder / "seg.dcm")]


def read_seg(path: Path) -> bool:
    return drain(lambda gate: open_dicom_cases(path.parent, gate, None, False).cases)


def mend_png(damaged: bytes) -> bytes:
    """The checksum of each chunk made right, so that a reader looks into the chunk."""
    mended, start = bytearray(damaged), 8
    while (end := start + 8 + int.from_bytes(mended[start : start + 4])) + 4 <= len(mended):
        mended[end : end + 4] = zlib.crc32(mended[start + 4 : end]).to_bytes(4)
        start = end + 4
    return bytes(mended)


GZIP = (gzip.decompress, lambda content: gzip.compress(content, mtime=0))
PNG = (bytes, mend_png)
KINDS = {
    "figshare": Kind(write_figshare, read_figshare),
    "nifti": Kind(write_nifti, read_volume),
    "nifti-gz": Kind(lambda folder: write_nifti(folder, "head.nii.gz"), read_volume, GZIP),
    "metaimage": Kind(write_metaimage, read_volume),
    "decathlon": Kind(write_decathlon, read_decathlon),
    "png": Kind(write_pair(".png"), read_pair, PNG),
    "jpeg": Kind(write_pair(".jpg"), read_pair),
    "tiff": Kind(write_pair(".tif"), read_pair),
    "tiff-pages": Kind(write_pair(".tif", pages=3, dtype=np.uint16), read_pair),
    "csv": Kind(write_table, read_table),
    "dicom": Kind(write_dicom(), read_dicom),
    "dicom-rle": Kind(write_dicom(RLE), read_dicom),
    "dicom-jpeg2000": Kind(write_dicom(JPEG_2000, side=33), read_dicom),
    "dicom-enhanced": Kind(write_enhanced, read_dicom),
    "dicom-seg": Kind(write_seg, read_seg),
}
LAYOUT = "layout"


def drain(open_cases: Callable[[IntegrityGate], Iterator]) -> bool:
    """Read all cases as `bts-prepare --skip-bad` does; whether there were any and no errors."""
    gate = IntegrityGate()
    cases = 0
    for case in open_cases(gate):
        assert case.images.dtype.name in DTYPES, f"no store keeps {case.images.dtype}"
        assert case.mask is not None
        assert case.mask.dtype == np.uint8
        cases += 1
    for finding in gate.finish(skip_bad=True):
        assert_one_line(f"{finding.file}: {finding.message}")
    return cases > 0 and all(finding.weight == "warning" for finding in gate.findings)


def assert_one_line(message: str) -> None:
    assert len(message.splitlines()) == 1, f"not one line: {message!r}"


def guarded(read: Callable[[], bool], example: str) -> str:
    """What came of reading: `read` or `refused`; anything else is raised.

    Where reading hangs or takes too much memory the process ends at once, as no later example could
    tell more; so each is named beforehand.
    """
    print(example[:SHOWN_CHARACTERS], file=sys.stderr, flush=True)
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    try:
        return "read" if read() else "refused"
    except ToolkitError as error:
        assert_one_line(str(error))
        cause: BaseException | None = error
        while cause := cause.__cause__ or cause.__context__:
            assert not isinstance(cause, MemoryError), "a reader asked for more than the backstop"
        return "refused"
    finally:
        faulthandler.cancel_dump_traceback_later()
        if (peak := peak_bytes()) > MOST_BYTES:
            print(f"{peak} bytes of memory", file=sys.stderr, flush=True)
            os._exit(1)


def apply(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Damage a file: each change is what is done, where, and with which bytes."""
    damaged = bytearray(content)
    for action, at, chunk in changes:
        if action == "cut":
            del damaged[at:]
        elif action == "word":
            if word := re.compile(rb"[\w.+/-]+").search(damaged, at):
                damaged[word.start() : word.end()] = chunk
        elif action == "delete":
            del damaged[at : at + len(chunk)]
        else:
            damaged[at : at + (len(chunk) if action == "overwrite" else 0)] = chunk
    return bytes(damaged)


def fuzzer(kind: Kind, outcomes: Counter[str]) -> Callable[[], None]:
    folder = Path("input").absolute()
    folder.mkdir()
    files = kind.write(folder)
    whole = {file: file.read_bytes() for file in files}
    assert guarded(lambda: kind.read(files[-1]), "whole") == "read", "the whole input is not read"
    most = max(map(len, whole.values())) - 1
    # Headers come first, and most fields of a header are at even places.
    places = (
        st.integers(0, most) | st.integers(0, min(most, 600)) | st.integers(0, min(most, 1200) // 4).map((4).__mul__)
    )
    actions = st.sampled_from(["overwrite", "overwrite", "overwrite", "insert", "delete", "cut"])
    chunks = st.sampled_from(INTEGERS + FLOATS + TEXTS) | st.binary(min_size=1, max_size=16)

    @given(
        file=st.sampled_from(files),
        deep=st.booleans() if kind.below else st.just(False),
        changes=st.lists(
            st.tuples(actions, places, chunks) | st.tuples(st.just("word"), places, st.sampled_from(TEXTS)),
            min_size=1,
            max_size=3,
        ),
    )
    def fuzz(file: Path, deep: bool, changes: list[tuple[str, int, bytes]]) -> None:
        out, back = kind.below if kind.below and deep else (bytes, bytes)
        damaged = {**whole, file: back(apply(out(whole[file]), changes))}
        for path in files:
            if path.read_bytes() != damaged[path]:  # to write is slow
                path.write_bytes(damaged[path])
        outcomes["examples"] += 1
        outcomes[guarded(lambda: kind.read(file), f"{file.name} {changes}")] += 1

    return fuzz


PIECES = ["{patient}", "{visit}", "{slice}", "{a}", "{b}", "/", "_", "-", ".", ".nii", "p1", "(", "[a-", "\\", "*", "+"]
PIECES += ["{", "}", "{}", "{1}", "{a²}", "{patient", "é", "\n", "?P<x>", "$", "^", "%s"]
NAMES = [
    "p1",
    "a",
    "_",
    "_" * 250,
    "_" * 200 + "x",
    "-.",
    "é",
    "\n",
    "{patient}",
    "\\",
    "..",
    "[",
    " ",
    "/",
    ".nii",
    "\udcff",
]


def layout_fuzzer(outcomes: Counter[str]) -> Callable[[], None]:
    """Patterns and file names from strangers; what is matched must be what the pattern says."""
    folder = Path("/data")
    odd = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join)
    # Many ways to tell them apart in a name of nothing but separators.
    alike = st.integers(1, 6).map(lambda count: "_".join(f"{{{letter}}}" for letter in "abcdef"[:count]) + ".nii")
    patterns = odd | alike
    shared = patterns.map(lambda pattern: {"t1c": "{patient}_" + pattern, "mask": "{patient}_" + pattern + "_seg"})
    apart = st.dictionaries(st.sampled_from(["t1c", "t2f", "mask"]), patterns, min_size=1)
    # File systems allow names of 255 bytes.
    names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6).map(lambda parts: "".join(parts)[:255])

    @given(patterns=shared | apart, names=st.lists(names, max_size=2))
    def fuzz(patterns: dict[str, str], names: list[str]) -> None:
        def read() -> bool:
            matches = match_files(folder, [folder / name.lstrip("/") for name in names], patterns)
            for match in matches:
                for role, file in match.files.items():
                    pieces = PLACEHOLDER.split(patterns[role])
                    pieces[1::2] = [match.fields[name] for name in pieces[1::2]]
                    assert "".join(pieces) == file.relative_to(folder).as_posix()
            return True

        outcomes["examples"] += 1
        outcomes[guarded(read, f"{patterns} {names}")] += 1

    return fuzz


def peak_bytes() -> int:
    """The most memory this process had; the counter of `resource` would start with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def main(name: str) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (BACKSTOP_BYTES, BACKSTOP_BYTES))
    outcomes: Counter[str] = Counter(examples=0, read=0, refused=0)
    fuzz = layout_fuzzer(outcomes) if name == LAYOUT else fuzzer(KINDS[name], outcomes)
    steady = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    steady(fuzz)()
    assert "tensorflow" not in sys.modules
    print(json.dumps({**outcomes, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1])
