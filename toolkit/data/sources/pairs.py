"""Pairs of pictures: an image and its mask, each PNG, TIFF or JPEG, as cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.config import LayoutRecipe
from toolkit.data.case import Case
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.pair_layouts import Pair, PairedCase, PairedFolder, find_pairs
from toolkit.data.sources.picture_masks import binary_mask
from toolkit.data.sources.pictures import read_colours, read_picture
from toolkit.data.sources.source import Source
from toolkit.data.store import DTYPES
from toolkit.errors import SourceError
from toolkit.progress import track

LABELS = {"tumour": 1}
MAX_CASE_BYTES = 2**29  # images and mask: 680 slices of 512 x 512 at 16 and 8 bit
# A file name may have 255 bytes, and the gate may add a number.
MAX_NAME = 120


def open_pairs(
    folder: Path,
    gate: IntegrityGate,
    layout: LayoutRecipe | None,
    spacing_mm: tuple[float, float, float] | None,
) -> Source:
    """Open a folder of images and masks; see `find_pairs` for the layouts it may have.

    Args:
        folder: of the data set.
        gate: gets the findings; a case with an error in one of its files is left out.
        layout: patterns of the files and the labels of the masks. With one label, or without a
            layout, masks are background and tumour (see `binary_mask`); with several, their
            values are the labels.
        spacing_mm: `(slice, row, column)` distances, which pictures do not state.

    Raises:
        UsageError: the layout's patterns can't be used.
        SourceError: nothing in the folder that is understood.
    """
    found = find_pairs(folder, gate, layout)
    labels = LABELS if layout is None else layout.labels
    files = dict.fromkeys(file for case in found.cases for pair in case.pairs for file in (*pair.images, pair.mask))
    reader = _Reader(found, gate, labels, spacing_mm)
    return Source("pairs", {"background": 0, **labels}, tuple(files), reader.cases())


class _BadFile(Exception):
    """A finding that leaves the case out: the file, the rule, the message."""


@dataclass(frozen=True)
class _Reader:
    found: PairedFolder
    gate: IntegrityGate
    labels: Mapping[str, int]
    spacing_mm: tuple[float, float, float] | None

    def cases(self) -> Iterator[Case]:
        for paired in track(self.found.cases, "Reading pictures", len(self.found.cases)):
            try:
                case = self._case(paired)
            except _BadFile as finding:
                self.gate.error(*finding.args)
                continue
            if case is not None:
                yield case

    def _case(self, paired: PairedCase) -> Case | None:
        images, mask, slice_names = self._read(paired.pairs)
        first = paired.pairs[0]
        if len(self.labels) == 1:
            mask = self._foreground(first.mask, mask) * np.uint8(next(iter(self.labels.values())))
        modalities, allowed = self.found.modalities, set(self.labels.values())
        if not self.gate.check_case(first.images[0], images, mask, paired.patient, modalities, allowed):
            return None
        return Case(
            images=images,
            mask=mask.astype(np.uint8),
            patient=paired.patient,
            case=self.gate.unique_name(paired.name[-MAX_NAME:]),
            modalities=modalities,
            spacing_mm=self.spacing_mm,
            tumour_type=paired.tumour_type,
            slice_names=slice_names,
        )

    def _foreground(self, file: Path, values: np.ndarray) -> np.ndarray:
        if values.min() < 0:
            raise _BadFile(file, "mask-values", "the mask has values below 0; draw the tumour above a ground of 0")
        mask, soft = binary_mask(values)
        if soft:
            self.gate.warn(file, "soft-mask", "the mask has shades: from half of full scale on they count as tumour")
        if mask.all():
            self.gate.warn(file, "mask-everywhere", "the mask marks every pixel; look whether that is meant")
        return mask

    def _read(self, pairs: tuple[Pair, ...]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Images `(N, H, W, M)`, mask `(N, H, W)` as stored, and the names of the slices."""
        images: list[np.ndarray] = []
        masks: list[np.ndarray] = []
        names: list[str] = []
        n_bytes = 0
        for pair in pairs:
            image, mask = self._read_images(pair), _pages(pair.mask, read_picture)
            if mask.shape != image.shape[:3]:
                sizes = f"{mask.shape} (pages, rows, columns) does not fit {pair.images[0].name}, {image.shape[:3]}"
                raise _BadFile(pair.mask, "mask-shape", f"{sizes}; leave it out")
            images.append(image)
            masks.append(mask)
            _check_alike(pair.images[0], pairs[0].images[0], image, images[0])
            _check_alike(pair.mask, pairs[0].mask, mask, masks[0])
            n_bytes += image.nbytes + mask.nbytes
            if n_bytes > MAX_CASE_BYTES:
                message = f"its case has over {MAX_CASE_BYTES} bytes of pixels; split it into several cases"
                raise _BadFile(pair.images[0], "too-large", message)
            stem = pair.images[0].stem
            names += [stem] if len(image) == 1 else [f"{stem}-{page}" for page in range(len(image))]
        return np.concatenate(images), np.concatenate(masks), tuple(names)

    def _read_images(self, pair: Pair) -> np.ndarray:
        """`(N, H, W, modalities)` of one pair."""
        if self.found.colours:
            images = _pages(pair.images[0], read_colours)
        else:
            channels = [_pages(file, read_picture) for file in pair.images]
            for file, channel in zip(pair.images, channels, strict=True):
                if len(channel) != len(channels[0]):
                    message = f"has {len(channel)} pages, but {pair.images[0].name} {len(channels[0])}; leave it out"
                    raise _BadFile(file, "unlike-size", message)
                _check_alike(file, pair.images[0], channel, channels[0])
            images = np.stack(channels, axis=-1)
        if images.dtype.name not in DTYPES:
            raise _BadFile(pair.images[0], "type", f"its pixels are {images.dtype}; save it with 8 or 16 bit")
        return images


def _pages(file: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    try:
        return read(file)
    except SourceError as error:
        raise _BadFile(file, "unreadable", str(error).removeprefix(f"{file}: ")) from error


def _check_alike(file: Path, first_file: Path, pages: np.ndarray, first: np.ndarray) -> None:
    """Refuse pages `(N, H, W, …)` of another size or type than the first of their case."""
    if pages.shape[1:] != first.shape[1:]:
        message = f"is {pages.shape[1:3]} (rows, columns), but {first_file.name} {first.shape[1:3]}; leave it out"
        raise _BadFile(file, "unlike-size", message)
    if pages.dtype != first.dtype:
        raise _BadFile(file, "unlike-type", f"is {pages.dtype}, but {first_file.name} {first.dtype}; save them alike")
