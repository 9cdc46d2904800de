"""MetaImage files (`.mha`, or `.mhd` with its data beside it), the format of BraTS from 2013 to 2016."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from toolkit.data.geometry import is_usable_affine
from toolkit.data.sources.nifti import MAX_BYTES, NiftiVolume
from toolkit.errors import SourceError

MAX_HEADER_BYTES = 2**16
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LOCAL = "LOCAL"
# The key that ends the header (MetaIO, "The ElementDataFile field").
_LAST_KEY = "ElementDataFile"


def read_metaimage(path: Path) -> NiftiVolume:
    """Read a 3-D MetaImage of one channel.

    Returns:
        `data (X, Y, Z, 1)`, the affine in RAS, and a NIfTI header of the same geometry.

    Raises:
        SourceError: the file is missing, damaged, cut short or of a kind that is no volume.
    """
    try:
        fields, data_at = _read_header(path)
        shape, dtype, affine = _geometry(fields)
        values = _read_values(path, fields, data_at, math.prod(shape) * dtype.itemsize)
        data = np.frombuffer(values, dtype).reshape(shape, order="F")[..., np.newaxis]
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename}: no such file; check the path") from error
    except (OSError, ValueError, KeyError, OverflowError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path}: no readable MetaImage ({reason}); convert it to .nii.gz") from error
    if data.dtype.kind == "f" and not np.isfinite([data.min(), data.max()]).all():
        raise SourceError(f"{path}: holds NaN or infinity; replace them, e.g. by 0 outside the head")
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_xyzt_units("mm")
    return NiftiVolume(path, data.astype(dtype.newbyteorder("="), copy=False), affine, header)


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES)
    fields: dict[str, str] = {}
    position = 0
    while _LAST_KEY not in fields:
        end = start.find(b"\n", position)
        end = len(start) if end < 0 else end
        key, equals, value = start[position:end].decode("ascii").partition("=")
        if not equals:
            raise ValueError("its header does not end")
        fields[key.strip()] = value.strip()
        position = end + 1
    return fields, position


def _geometry(fields: dict[str, str]) -> tuple[tuple[int, ...], np.dtype, np.ndarray]:
    if fields["NDims"] != "3" or fields.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError("not three axes and one channel")
    shape = tuple(int(length) for length in fields["DimSize"].split())
    big = "true" in {fields.get(key, "").lower() for key in ("ElementByteOrderMSB", "BinaryDataByteOrderMSB")}
    dtype = np.dtype((">" if big else "<") + _TYPES[fields["ElementType"]])
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise ValueError(f"size {fields['DimSize']}; up to {MAX_BYTES} bytes of voxels can be read")
    directions = np.reshape(_numbers(fields, ("TransformMatrix", "Orientation", "Rotation"), np.eye(3)), (3, 3))
    affine = np.eye(4)
    # A row of the matrix is the direction of an axis.
    affine[:3, :3] = directions.T * _numbers(fields, ("ElementSpacing", "ElementSize"), np.ones(3))
    affine[:3, 3] = _numbers(fields, ("Offset", "Position", "Origin"), np.zeros(3))
    if not is_usable_affine(affine):
        raise ValueError("its matrix gives no three directions")
    return shape, dtype, _LPS_TO_RAS @ affine


def _numbers(fields: dict[str, str], names: tuple[str, ...], default: np.ndarray) -> np.ndarray:
    text = next((fields[name] for name in names if name in fields), None)
    if text is None:
        return default
    return np.array([float(number) for number in text.split()]).reshape(default.shape)


def _read_values(path: Path, fields: dict[str, str], data_at: int, size: int) -> bytes:
    file = fields[_LAST_KEY]
    source = path
    if file != _LOCAL:
        if Path(file).name != file:
            raise ValueError(f"its data lie in another folder, {file}")
        source, data_at = path.with_name(file), 0
    compressed = fields.get("CompressedData", "False").lower() == "true"
    with source.open("rb") as stream:
        stream.seek(data_at)
        if not compressed:
            values = stream.read(size)
        else:
            # One byte more than there may be, so that the checksum at the end is read.
            inflater = zlib.decompressobj()
            values = inflater.decompress(stream.read(), size + 1)
            if not inflater.eof:
                raise ValueError("its compressed data are not whole")
    if len(values) != size:
        raise ValueError(f"{len(values)} bytes of data where its header declares {size}")
    return values
