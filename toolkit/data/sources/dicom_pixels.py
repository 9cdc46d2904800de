"""Pixels of a DICOM file, native or compressed, checked before anything of a declared size is decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.data.sources.dicom_header import distrusted, open_dicom
from toolkit.errors import SourceError

if TYPE_CHECKING:
    from pydicom import Dataset

DECODERS = "pip install 'brain-tumour-segmentation[dicom]'"

# Other decoders of run lengths abort on damaged ones, with an exception that is no Exception.
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
# JPEG, JPEG-LS and JPEG 2000 state their size once more.
_CODESTREAMS = "1.2.840.10008.1.2.4."
_JPEG_2000 = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8"
# Markers of a JPEG or JPEG-LS frame header; C4, C8 and CC are of tables.
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def read_frames(path: Path, indices: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Stored values of some frames of a file, one frame at a time.

    Args:
        path: a file with grey values.
        indices: which frames, from 0.

    Yields:
        Index and pixels `(rows, columns)`, in ascending order of index.

    Raises:
        SourceError: the file is damaged or cut short, or no decoder can read it.
    """
    dataset = open_dicom(path, with_pixels=True)
    with distrusted(path):
        if "PixelData" not in dataset:
            raise ValueError("no PixelData")
        count = int(dataset.get("NumberOfFrames") or 1)
        if dataset.file_meta.TransferSyntaxUID.startswith(_CODESTREAMS):
            _check_codestreams(dataset, count)
    found = 0
    # A decoder may find more frames than the header declares.
    for index, pixels in enumerate(islice(_decode(path, dataset), count)):
        if index in indices:
            found += 1
            yield index, pixels
    if found < len(indices):
        raise SourceError(f"{path}: only {found} of {len(indices)} frames are there; copy or export it again")


def _decode(path: Path, dataset: Dataset) -> Iterator[np.ndarray]:
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = "pydicom" if syntax == _RUN_LENGTHS else ""
    frames: Iterator[tuple[np.ndarray, dict]] | None = None
    while True:
        with distrusted(path):
            try:
                frames = frames or get_decoder(syntax).iter_array(dataset, raw=True, decoding_plugin=plugin)
                pixels = next(frames, None)
            except Exception as error:
                if not syntax.is_compressed:
                    raise
                reason = " ".join(str(error).split())[:160]
                raise SourceError(
                    f"{path}: {syntax.name} can't be decoded ({reason}); install the decoders by {DECODERS}, "
                    "or copy or export the file again"
                ) from error
        if pixels is None:
            return
        yield pixels[0]


def _check_codestreams(dataset: Dataset, count: int) -> None:
    """Refuse a frame that states another size than the header: a decoder would allocate what the frame states."""
    from pydicom.encaps import generate_frames

    declared = (int(dataset.Rows), int(dataset.Columns), 1)
    for frame in islice(generate_frames(dataset.PixelData, number_of_frames=count), count):
        if (stated := _stated_size(frame)) != declared:
            raise ValueError(f"a frame states {stated} rows, columns and channels, the header {declared}")


def _stated_size(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and channels that a JPEG, JPEG-LS or JPEG 2000 codestream states."""
    if frame.startswith(_JPEG_2000):
        # ISO/IEC 15444-1 A.5.1: the image lies between its offset and its far corner on the reference grid.
        right, bottom, left, top = (int.from_bytes(frame[start : start + 4]) for start in (8, 12, 16, 20))
        return bottom - top, right - left, int.from_bytes(frame[40:42])
    if not frame.startswith(_JPEG):
        raise ValueError("a frame is no JPEG")
    start = len(_JPEG)
    while start + 10 <= len(frame):
        # ISO/IEC 10918-1 B.2: marker, length of the segment without its marker, then what it holds.
        marker, length = frame[start + 1], int.from_bytes(frame[start + 2 : start + 4])
        if frame[start] != 0xFF:
            break
        if marker in _JPEG_FRAMES:
            rows, columns = (int.from_bytes(frame[at : at + 2]) for at in (start + 5, start + 7))
            return rows, columns, frame[start + 9]
        start += 2 + length
    raise ValueError("a frame without a JPEG frame header")
