"""PNG, TIFF and JPEG pictures as slices, grey or in colours; the pages of a TIFF are a slice sequence.

The size that a picture declares is read before it is decoded: a file of a few
kilobytes can unfold to gigabytes.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from toolkit.errors import SourceError

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg"})
MAX_PIXELS = 2**27  # over all pages: 512 slices of 512 x 512
MAX_BYTES = 2**29  # of all pages, decoded; on its way to a case a picture takes a few times that
MAX_FILE_BYTES = 2**31 - 1  # what one array of OpenCV can hold

# Y' of ITU-R BT.601, section 2.5.1, in thousandths: sums of integers are exact, so halves are halves in any library.
# OpenCV delivers blue first.
BGR_WEIGHTS = (114, 587, 299)
_BLOCK_ROWS = 64

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Channels by colour type, as OpenCV delivers them: grey, colours, palette, both with transparency.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}
_JPEG_MAGIC = b"\xff\xd8"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, _TIFF_PLANES = 256, 257, 258, 277, 284
_TIFF_TAGS = frozenset({_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, _TIFF_PLANES})
_TIFF_SIZE_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
# Start-of-frame markers, which hold the size; C4, C8 and CC mean something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END = b"\xff\xd9"


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as grey slices.

    Colours become luminance (ITU-R BT.601), or the one channel where all three
    are equal; transparency is dropped; an orientation tag is not applied.

    Returns:
        `(N, H, W)` of the file's own type (8 or 16 bit, or what a TIFF holds);
        N is the number of pages of a TIFF, 1 for PNG and JPEG.

    Raises:
        SourceError: the file is missing, damaged, cut short or of another format,
            has absurdly many pixels, pages of unlike size, or NaN or infinity.
    """
    return _read_slices(path, to_grey)


def read_colours(path: Path) -> np.ndarray:
    """Read a picture as slices of three colours, where each colour is a modality of its own.

    A grey picture gives three equal channels; transparency is dropped.

    Returns:
        `(N, H, W, 3)` red, green, blue, otherwise as `read_picture`.

    Raises:
        SourceError: as `read_picture`.
    """
    return _read_slices(path, to_colours)


def _read_slices(path: Path, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """All pages of a picture, each through `convert`, stacked."""
    data = _read_bytes(path)
    try:
        sizes = _declared_sizes(data)
    except (struct.error, IndexError, ValueError) as error:
        raise SourceError(f"{path}: not a whole PNG, TIFF or JPEG ({error}); export it again") from error
    if len(set(sizes)) > 1:
        raise SourceError(f"{path}: pages of unlike size {sorted({s[:2] for s in sizes})}; give each its own file")
    pixels = sum(width * height for width, height, _ in sizes)
    if not 0 < pixels <= MAX_PIXELS:
        raise SourceError(f"{path}: declares {pixels} pixels, allowed are 1 to {MAX_PIXELS}; crop or split it")
    if (decoded := pixels * sizes[0][2]) > MAX_BYTES:
        raise SourceError(f"{path}: is {decoded} bytes decoded, allowed are {MAX_BYTES}; save it in grey or split it")
    pages = [convert(page) for page in _decode(path, data, len(sizes))]
    if len({(page.shape, page.dtype) for page in pages}) > 1:
        raise SourceError(f"{path}: pages of unlike size or type; give each its own file")
    slices = np.stack(pages)
    # NaN is the minimum of any array that holds one, and fails every comparison.
    if slices.dtype.kind == "f" and not np.abs(slices).max() <= np.finfo(np.float32).max:
        raise SourceError(f"{path}: holds NaN, infinity or numbers beyond float32; replace them, e.g. by 0")
    return slices


def to_grey(picture: np.ndarray) -> np.ndarray:
    """One grey channel of a decoded picture.

    Args:
        picture: `(H, W)`, or `(H, W, 3 or 4)` blue, green, red and transparency.

    Returns:
        `(H, W)` of the same type.
    """
    if picture.ndim == 2:
        return picture
    # Some rows at a time: comparison and luminance take several times the memory of the picture.
    blocks = [slice(top, top + _BLOCK_ROWS) for top in range(0, len(picture), _BLOCK_ROWS)]
    if picture.shape[2] < 3 or all((picture[rows, :, :3] == picture[rows, :, :1]).all() for rows in blocks):
        return np.ascontiguousarray(picture[..., 0])
    grey = np.empty(picture.shape[:2], picture.dtype)
    for rows in blocks:
        luminance = picture[rows, :, :3] @ np.asarray(BGR_WEIGHTS, np.float64) / sum(BGR_WEIGHTS)
        grey[rows] = np.rint(luminance) if picture.dtype.kind in "iu" else luminance
    return grey


def to_colours(picture: np.ndarray) -> np.ndarray:
    """Three channels of a decoded picture, red first.

    Args:
        picture: as for `to_grey`.

    Returns:
        `(H, W, 3)` of the same type.
    """
    if picture.ndim == 2 or picture.shape[2] < 3:
        return np.repeat(to_grey(picture)[..., np.newaxis], 3, axis=-1)
    return np.ascontiguousarray(picture[..., 2::-1])


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SourceError(f"{path}: over {MAX_FILE_BYTES} bytes; split it into smaller files")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: can't be opened ({error.strerror}); check the path") from error


def _decode(path: Path, data: bytes, n_pages: int) -> list[np.ndarray]:
    buffer = np.frombuffer(data, np.uint8)
    try:
        with _quiet_opencv():
            if data.startswith(_TIFF_MAGICS):
                _, decoded = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED)
            else:
                picture = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
                decoded = [] if picture is None else [picture]
    except cv2.error:
        decoded = []
    if len(decoded) != n_pages or not _is_sound_tiff(data, decoded):
        raise SourceError(
            f"{path}: damaged, or of a type that can't be decoded; save it again as 8- or 16-bit PNG or TIFF"
        )
    return list(decoded)


def _is_sound_tiff(data: bytes, pages: Sequence[np.ndarray]) -> bool:
    """False for a TIFF that OpenCV reads wrongly and says nothing.

    Of 8 bit, it leaves the damaged part of a compressed page black, as if there
    were no tumour; at other depths it does refuse, but mixes up colours that are
    stored one plane after the other.
    """
    if not data.startswith(_TIFF_MAGICS):
        return True
    if pages[0].dtype != np.uint8:
        return all(tags.get(_TIFF_PLANES, 1) == 1 or tags.get(_TIFF_SAMPLES, 1) == 1 for tags in _tiff_tags(data))
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as tiff:
            for index in range(len(pages)):
                tiff.seek(index)
                tiff.load()
    except Exception:  # Pillow has no common base: KeyError for a missing tag, SyntaxError for a bad one, …
        return False
    return True


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Our errors are one line; OpenCV would print its own before them."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _declared_sizes(data: bytes) -> list[tuple[int, int, int]]:
    """(width, height, bytes of a decoded pixel) of each page, from the headers alone."""
    if data.startswith(_PNG_MAGIC):
        return [_png_size(data)]
    if data.startswith(_JPEG_MAGIC):
        return [_jpeg_size(data)]
    if data.startswith(_TIFF_MAGICS):
        return [(tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT], _tiff_pixel_bytes(tags)) for tags in _tiff_tags(data)]
    raise ValueError("unknown first bytes")


def _png_size(data: bytes) -> tuple[int, int, int]:
    """Walk the chunks to the last one (PNG specification, section 5.3).

    OpenCV allocates gigabytes for a chunk that states a length far beyond the end of the file.
    """
    position = len(_PNG_MAGIC)
    while data[position + 4 : position + 8] != b"IEND":
        position += 12 + struct.unpack_from(">I", data, position)[0]
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    return width, height, _PNG_CHANNELS.get(kind, 4) * -(-bits // 8)


def _jpeg_size(data: bytes) -> tuple[int, int, int]:
    """Walk the segments to the frame header (ITU-T T.81, B.2.2)."""
    position = len(_JPEG_MAGIC)
    while True:
        if data[position] != 0xFF:
            raise ValueError("no JPEG marker where one must be")
        marker = data[position + 1]
        if marker in _JPEG_FRAMES:
            break
        # FF is a fill byte: the marker follows it.
        position += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, position + 2)[0]
    # Some decoders fill the missing part of a cut file with grey and say nothing.
    if data.find(_JPEG_END, position) < 0:
        raise ValueError("the end of the JPEG is missing")
    height, width, components = struct.unpack_from(">HHB", data, position + 5)
    return width, height, components


def _tiff_pixel_bytes(tags: dict[int, int]) -> int:
    return tags.get(_TIFF_SAMPLES, 1) * -(-tags.get(_TIFF_BITS, 1) // 8)


def _tiff_tags(data: bytes) -> Iterator[dict[int, int]]:
    """Size and arrangement of each page, from the chain of image file directories.

    TIFF 6.0, sections 2 and 8; BigTIFF alike with wider fields.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    word, count, entry_size, first = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (directory,) = struct.unpack_from(order + word, data, first)
    seen: set[int] = set()
    while directory:
        if directory in seen:
            raise ValueError("its pages go round in a circle")
        seen.add(directory)
        (n_entries,) = struct.unpack_from(order + count, data, directory)
        entries = directory + struct.calcsize(order + count)
        tags: dict[int, int] = {}
        for entry in range(entries, entries + n_entries * entry_size, entry_size):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag in _TIFF_TAGS:
                (n_values,) = struct.unpack_from(order + word, data, entry + 4)
                value_at = entry + 4 + struct.calcsize(order + word)
                value = order + _TIFF_SIZE_TYPES.get(kind, "I")
                if n_values * struct.calcsize(value) > struct.calcsize(order + word):
                    (value_at,) = struct.unpack_from(order + word, data, value_at)
                (tags[tag],) = struct.unpack_from(value, data, value_at)
        if not {_TIFF_WIDTH, _TIFF_HEIGHT} <= tags.keys():
            raise ValueError("a page declares no size")
        yield tags
        (directory,) = struct.unpack_from(order + word, data, entries + n_entries * entry_size)
