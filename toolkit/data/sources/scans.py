"""What a user hands to `bts-predict`: files and folders of any accepted kind, each read as a Scan."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from toolkit.data.case import Case
from toolkit.data.geometry import is_placeholder_spacing, to_slices
from toolkit.data.sources.figshare import read_slice
from toolkit.data.sources.nifti import read_volume
from toolkit.data.sources.phantom import SYNTHETIC_MARK
from toolkit.data.sources.pictures import read_picture
from toolkit.errors import SourceError

KIND_OF_SUFFIX = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".mat": "mat",
    ".png": "picture",
    ".tif": "picture",
    ".tiff": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
}
ACCEPTED = ", ".join(KIND_OF_SUFFIX)
DEFAULT_MODALITY = "t1c"

# Cross-validation indices that lie beside the slices of the figshare set.
_NO_SCANS = frozenset({"cvind.mat"})
# A file name may have 255 bytes; the rest is for endings such as _overlay.png.
_MAX_NAME_BYTES = 180


@dataclass(frozen=True)
class Scan:
    """One input of a prediction, and what is needed to write a mask back beside it.

    Args:
        path: the file.
        kind: `nifti`, `picture` or `mat`.
        case: images `(N, H, W, modalities)` in canonical slices; the mask is the
            truth a .mat file holds, else None. `spacing_mm` is None where the
            source has none or a placeholder.
        spacing_is_placeholder: the header's 1 mm can't be true, so nothing may
            be measured in mm.
        restore: takes `(N, H, W)` of these slices to the axis order of the file.
        header: of a NIfTI file, else None.
    """

    path: Path
    kind: str
    case: Case
    spacing_is_placeholder: bool
    restore: Callable[[np.ndarray], np.ndarray]
    header: nib.Nifti1Header | None = None


def read_scan(path: Path, modality: str = DEFAULT_MODALITY) -> Scan:
    """Read one file of any accepted kind as a scan of one modality.

    Raises:
        SourceError: the kind is not accepted or the file can't be read.
    """
    kind = _kind(path)
    if kind == "nifti":
        return _read_nifti(path, modality)
    if kind == "mat":
        return _read_mat(path, modality)
    images = read_picture(path)[..., np.newaxis]
    name = safe_name(path)
    case = Case(images, None, patient=name, case=name, modalities=(modality,))
    return Scan(path, kind, case, spacing_is_placeholder=False, restore=np.asarray)


def find_scans(inputs: Iterable[Path], skip: Path | None = None) -> list[Path]:
    """The scan files among what a user named: files as given, folders searched recursively.

    In a folder, hidden files and folders and what is known to be no scan are left
    out, and numbers sort as numbers. A file that is named twice comes once.

    Args:
        inputs: files and folders.
        skip: a folder not to look into: where the command writes its own masks.

    Raises:
        SourceError: an input is missing, of no accepted kind, or a folder that
            can't be read or has no scan.
    """
    found: dict[str, Path] = {}
    for path in map(Path, inputs):
        if os.path.isdir(path):
            scans = sorted(_walk(path, skip), key=lambda scan: natural_key(str(scan.relative_to(path))))
            if not scans:
                raise SourceError(f"{path}: no scan found in this folder; accepted: {ACCEPTED}")
        elif os.path.exists(path):
            _kind(path)
            scans = [path]
        else:
            raise SourceError(f"{path}: no such file or folder; check the path")
        for scan in scans:
            found.setdefault(os.path.realpath(scan), scan)
    return list(found.values())


def natural_key(text: str) -> list[str | int]:
    """Sort key by which `2.mat` comes before `10.mat`."""
    parts = re.split(r"([0-9]+)", text.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def safe_name(path: Path) -> str:
    """A name for the outputs of a scan: its file name without the ending, odd characters replaced.

    Letters and digits of any script, `-`, `_` and inner dots stay; the rest
    becomes `_`. Never empty, never hidden, never a path or an option.
    """
    name = path.name
    for suffix in KIND_OF_SUFFIX:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    name = re.sub(r"[^\w.-]+", "_", name).strip("._-")
    return name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "scan"


def unique_names(paths: Iterable[Path]) -> list[str]:
    """A safe name for each scan, no two alike even where case of letters does not count.

    Names that clash get the folder's name in front (`01_T1`, `02_T1`), and a
    number at the end if they still do.
    """
    paths = list(paths)
    names = [safe_name(path) for path in paths]
    often = Counter(name.casefold() for name in names)
    for index, path in enumerate(paths):
        folder = path.absolute().parent
        if often[names[index].casefold()] > 1 and folder.name:
            names[index] = safe_name(Path(f"{folder.name}_{names[index]}"))
    taken: set[str] = set()
    for index, name in enumerate(names):
        number = 1
        while names[index].casefold() in taken:
            number += 1
            names[index] = f"{name}_{number}"
        taken.add(names[index].casefold())
    return names


def _kind(path: Path) -> str:
    for suffix, kind in KIND_OF_SUFFIX.items():
        if path.name.lower().endswith(suffix):
            return kind
    raise SourceError(f"{path}: not a kind of scan that can be read; accepted: {ACCEPTED}")


def _walk(folder: Path, skip: Path | None) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: folder can't be read ({error.strerror}); check permissions")

    left_out = os.path.realpath(skip) if skip is not None else None
    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(root, name)) != left_out
        ]
        for name in files:
            hidden = name.startswith(".") or name.lower() in _NO_SCANS
            if not hidden and name.lower().endswith(tuple(KIND_OF_SUFFIX)):
                yield Path(root, name)


def _read_nifti(path: Path, modality: str) -> Scan:
    volume = read_volume(path)
    cut = to_slices(volume.data, volume.affine)
    placeholder = is_placeholder_spacing(cut.spacing_mm, cut.slices.shape)
    name = safe_name(path)
    case = Case(
        cut.slices[..., np.newaxis],
        None,
        patient=name,
        case=name,
        modalities=(modality,),
        affine=cut.affine,
        spacing_mm=None if placeholder else cut.spacing_mm,
        plane=cut.plane,
        synthetic=bytes(volume.header["descrip"].tobytes()).startswith(SYNTHETIC_MARK),
    )
    return Scan(path, "nifti", case, placeholder, cut.restore, volume.header)


def _read_mat(path: Path, modality: str) -> Scan:
    read = read_slice(path)
    if not np.isfinite(read.image).all() or read.image.size == 0:
        raise SourceError(f"{path}: the image is empty or holds NaN or infinity; repair the file")
    if read.mask is not None and read.mask.shape != read.image.shape:
        raise SourceError(f"{path}: mask {read.mask.shape} does not fit image {read.image.shape}; repair the file")
    case = Case(
        read.image[np.newaxis, ..., np.newaxis],
        None if read.mask is None else read.mask[np.newaxis],
        patient=read.patient or safe_name(path),
        case=safe_name(path),
        modalities=(modality,),
        tumour_type=read.label_name,
    )
    return Scan(path, "mat", case, spacing_is_placeholder=False, restore=np.asarray)
