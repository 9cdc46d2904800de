"""Cheng's brain tumour set as figshare serves it: one MATLAB 7.3 (HDF5) file a slice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.data.case import Case
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.figshare_planes import name_plane
from toolkit.data.sources.figshare_runs import sequences, thumbnail
from toolkit.errors import SourceError
from toolkit.progress import track

MODALITIES = ("t1c",)
CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
# `cvind.mat` in the original folder holds the author's folds, no slice.
NOT_A_SLICE = "cvind.mat"
MAX_SIDE_PIXELS = 4096
# Types that MATLAB or a converter may write and a store does not keep; the wider one holds their values.
WIDER_TYPE = {"bool": "uint8", "float16": "float32", "int64": "float64", "uint64": "float64"}


@dataclass(frozen=True)
class FigshareSlice:
    """One file of the set, arrays turned back from MATLAB's column order.

    Args:
        path: the file.
        image: `(height, width)`, values as stored.
        mask: `(height, width)` as stored, or None.
        patient: PID.
        label_name: tumour class, or None where the label is unknown.
        border: `(points, 2)` outline as (row, column) in pixels, or None.
    """

    path: Path
    image: np.ndarray
    mask: np.ndarray | None
    patient: str
    label_name: str | None
    border: np.ndarray | None


def read_slice(path: Path) -> FigshareSlice:
    """Read one `.mat` file.

    Raises:
        SourceError: not MATLAB 7.3, truncated, without `cjdata`, or absurdly large.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "cjdata" not in file:
                raise SourceError(f"{path}: no 'cjdata' inside, so no slice of the figshare set; leave it out")
            data = file["cjdata"]
            return FigshareSlice(
                path=path,
                image=_array(data, "image", path),
                mask=_array(data, "tumorMask", path) if "tumorMask" in data else None,
                patient=_text(data, "PID"),
                label_name=CLASSES.get(int(_vector(data, "label")[0])) if "label" in data else None,
                border=_border(data),
            )
    except SourceError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, ... on damaged files
        raise SourceError(
            f"{path}: not a readable MATLAB 7.3 file ({_one_line(error)}); fetch the file again"
        ) from error


def patient_stem(patient: str) -> str:
    """PID without its closing letter: MR040240 and MR040240B may be one person."""
    return re.sub(r"(?<=\d)[A-Za-z]$", "", patient)


def slice_files(folder: Path) -> list[Path]:
    """All slices below a folder, sorted by file number.

    Raises:
        SourceError: no such folder, or no `.mat` file in it.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; give the folder that holds the .mat files")
    files = [f for f in folder.rglob("*.mat") if f.name != NOT_A_SLICE and not f.name.startswith(".")]
    if not files:
        raise SourceError(f"{folder}: no .mat file in it; unpack the figshare archives there first")
    return sorted(files, key=lambda file: (_number(file) is None, _number(file) or 0, str(file)))


def figshare_cases(folder: Path, gate: IntegrityGate) -> Iterator[Case]:
    """Cases of a folder as downloaded, from runs of consecutive file numbers of one patient.

    Such a run is one plane's sequence of slices. It is put in order where the numbers are
    those of a list sorted as text, broken where slices don't follow on from each other, and
    its plane is named where that is sure. One run is in memory at a time.

    Args:
        folder: with the `.mat` files, also in subfolders.
        gate: gets the findings; files with errors are left out.

    Raises:
        SourceError: nothing there to read.
    """
    run: list[FigshareSlice] = []
    files = slice_files(folder)
    for path in track(files, "Reading slices", len(files)):
        item = _checked(path, gate)
        if item is None:
            continue
        if run and not _continues(run[-1], item):
            yield from _cases(run, gate)
            run = []
        run.append(item)
    if run:
        yield from _cases(run, gate)


def _checked(path: Path, gate: IntegrityGate) -> FigshareSlice | None:
    try:
        item = read_slice(path)
    except SourceError as error:
        gate.error(path, "unreadable", str(error).removeprefix(f"{path}: "))
        return None
    if item.mask is None:
        gate.error(path, "no-mask", "has no tumorMask, so there is no truth to learn from; leave it out")
        return None
    gate.see_patient(path, item.patient, patient_stem(item.patient))
    if item.border is not None and not (item.border.min() >= 0 and item.border.max() <= max(item.image.shape) + 1):
        gate.warn(path, "border-outside", "the outline of the tumour reaches beyond the image")
    return item if gate.check_slice(path, item.image, item.mask, item.patient) else None


def _continues(last: FigshareSlice, item: FigshareSlice) -> bool:
    before, number = _number(last.path), _number(item.path)
    return (
        item.patient == last.patient
        and item.image.shape == last.image.shape
        and item.image.dtype == last.image.dtype
        and before is not None
        and number == before + 1
    )


def _cases(run: list[FigshareSlice], gate: IntegrityGate) -> Iterator[Case]:
    thumbnails = [thumbnail(item.image) for item in run]
    for part in sequences(thumbnails):
        yield _case([run[index] for index in part], name_plane([thumbnails[index] for index in part]), gate)


def _case(items: list[FigshareSlice], plane: str, gate: IntegrityGate) -> Case:
    first = items[0]
    masks = [(item.mask != 0).astype(np.uint8) for item in items if item.mask is not None]
    return Case(
        images=np.stack([item.image for item in items])[..., None],
        mask=np.stack(masks),
        patient=first.patient,
        patient_group=patient_stem(first.patient),
        case=gate.unique_name(f"{first.patient}-{first.path.stem}"),
        modalities=MODALITIES,
        plane=plane,
        tumour_type=first.label_name,
        slice_names=tuple(item.path.stem for item in items),
    )


def _number(path: Path) -> int | None:
    return int(path.stem) if path.stem.isascii() and path.stem.isdigit() else None


def _array(data, name: str, path: Path) -> np.ndarray:
    dataset = data[name]
    if dataset.ndim != 2 or max(dataset.shape) > MAX_SIDE_PIXELS:
        raise SourceError(f"{path}: {name} has shape {dataset.shape}; a slice is a picture of rows and columns")
    if dataset.dtype.kind not in "iufb":
        raise SourceError(f"{path}: {name} holds no numbers; fetch the file again")
    array = dataset[()].T
    # h5py hands out big-endian arrays as they are; the store knows native types.
    return np.ascontiguousarray(array, WIDER_TYPE.get(array.dtype.name, array.dtype.newbyteorder("=")))


def _vector(data, name: str) -> np.ndarray:
    dataset = data[name]
    if dataset.size == 0 or dataset.size > 100_000:
        raise ValueError(f"{name} has {dataset.size} values")
    return np.asarray(dataset[()]).ravel()


def _text(data, name: str) -> str:
    """Text stored as MATLAB does, as character codes; empty where there is none."""
    if name not in data or data[name].size == 0:
        return ""
    return "".join(chr(int(code)) for code in _vector(data, name)).strip("\0 ")


def _border(data) -> np.ndarray | None:
    if "tumorBorder" not in data or data["tumorBorder"].size < 2:
        return None
    values = _vector(data, "tumorBorder").astype(float)
    return values[: len(values) // 2 * 2].reshape(-1, 2)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
