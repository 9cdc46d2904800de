"""NIfTI files: one volume or several on one grid, read with distrust of the header.

The header of a file from a stranger is checked before anything of its declared
size is allocated, and a compressed stream is never read much beyond that size.
"""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from toolkit.data.geometry import is_usable_affine
from toolkit.errors import SourceError

# Of all volumes, as they are kept: 586 cubed in 16 bit. On the way to a case that is four times in memory.
MAX_BYTES = 3 * 2**27
MAX_DATA_OFFSET = 2**26  # header extensions
_MAX_TAIL = 2**20

_GZIP_MAGIC = b"\x1f\x8b"
_HEADER_CLASSES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
# nibabel and the decompressor have no common base for what a damaged file raises.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
    zlib.error,
    HeaderDataError,
    WrapStructError,
)
# nibabel tells what it mends in a header; only who asks for logs shall hear it.
_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class NiftiVolume:
    """The voxels of a file, and where they lie.

    Args:
        path: the file.
        data: `(X, Y, Z, volumes)` in the file's axis order; the stored integer or
            float type where the header does not scale, else scaled float32.
        affine: `(4, 4)`, maps voxel indices to world RAS mm.
        header: as read, without extensions, for writing a volume of the same geometry.
    """

    path: Path
    data: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header


def read_nifti(path: Path) -> NiftiVolume:
    """Read a `.nii` or `.nii.gz` file, slope and intercept applied.

    Raises:
        SourceError: the file is missing, damaged or cut short; holds no volume,
            no voxels or absurdly many, colours or complex numbers, NaN
            or infinity, or an affine that gives no directions.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
            header = _read_header(path, stream)
            _check_header(path, header, None if compressed else path.stat().st_size)
            data = _read_data(stream, header)
            # Reading on to the end makes gzip compare its checksum.
            stream.read(_MAX_TAIL)
        affine = header.get_best_affine()
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise SourceError(f"{path}: may not be read; give yourself permission to read it") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path}: damaged or cut short ({reason}); copy or convert it again") from error
    _check_values(path, data, affine)
    return NiftiVolume(path, data, affine, header)


def _read_header(path: Path, stream: BinaryIO) -> nib.Nifti1Header:
    block = stream.read(max(_HEADER_CLASSES))
    for order in ("<", ">"):
        header_class = _HEADER_CLASSES.get(int.from_bytes(block[:4], "little" if order == "<" else "big"))
        if header_class is not None:
            header = header_class(block[: header_class.sizeof_hdr], endianness=order, check=False)
            if header["magic"].item().startswith((b"n+1", b"n+2")):
                return header
    raise SourceError(f"{path}: not a NIfTI file (no NIfTI header); convert it to .nii.gz, e.g. with dcm2niix")


def _check_header(path: Path, header: nib.Nifti1Header, file_size: int | None) -> None:
    shape = tuple(int(length) for length in header.get_data_shape())
    if len(shape) < 3 or any(length != 1 for length in shape[4:]):
        raise SourceError(f"{path}: holds an array of shape {shape}, no volumes; convert it to 3-D or 4-D")
    if min(shape) < 1:
        raise SourceError(f"{path}: the volume of shape {shape} has no voxels; export it again")
    dtype = header.get_data_dtype()
    if (size := math.prod(shape) * max(dtype.itemsize, 4 if _is_scaled(header) else 0)) > MAX_BYTES:
        raise SourceError(
            f"{path}: the header declares {size} bytes of voxels, over the limit of {MAX_BYTES}; "
            "crop or resample the volume"
        )
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SourceError(f"{path}: voxels of type {dtype} are not intensities; convert to int16 or float32")
    offset = float(header["vox_offset"])
    if not header.single_vox_offset <= offset <= MAX_DATA_OFFSET:
        raise SourceError(f"{path}: the header puts the voxels at byte {offset:g}; export it again")
    expected = int(offset) + math.prod(shape) * dtype.itemsize
    if file_size is not None and file_size < expected:
        raise SourceError(f"{path}: has {file_size} bytes where its header declares {expected}; copy it again")


def _is_scaled(header: nib.Nifti1Header) -> bool:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    return math.isfinite(slope) and slope != 0 and (slope, intercept) != (1.0, 0.0)


def _read_data(stream: BinaryIO, header: nib.Nifti1Header) -> np.ndarray:
    header.check_fix(logger=_log)
    # The voxels alone: extensions declare a size of their own, and nothing here needs them.
    proxy = ArrayProxy(stream, header, mmap=False)
    scaled = (proxy.slope, proxy.inter) != (1.0, 0.0)
    data = np.asarray(proxy, np.float32) if scaled else proxy.get_unscaled()
    # TensorFlow and OpenCV take the machine's byte order only.
    return data.reshape(*data.shape[:3], -1).astype(data.dtype.newbyteorder("="), copy=False)


def _check_values(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    if not is_usable_affine(affine):
        raise SourceError(f"{path}: the affine gives no three directions; repair sform and qform in the header")
    largest = np.finfo(np.float32).max
    # NaN is the minimum of any array that holds one, and fails every comparison.
    if data.dtype.kind == "f" and not (-largest <= data.min() and data.max() <= largest):
        raise SourceError(
            f"{path}: holds NaN, infinity or numbers beyond float32; replace them, e.g. by 0 outside the head"
        )
