"""Cases whose modalities and mask are volume files, one each: NIfTI or MetaImage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.data.case import Case
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.metaimage import read_metaimage
from toolkit.data.sources.nifti import NiftiVolume, read_nifti
from toolkit.data.sources.stacking import StackedVolume, Volume, stack_volumes
from toolkit.errors import SourceError
from toolkit.progress import track

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd")
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class CaseFiles:
    """The files of a case.

    Args:
        path: stands for the case in findings.
        patient: identifier of the patient.
        case: name of the case.
        images: modality to file; None where the case lacks it. One file named for all
            modalities holds them in their order.
        mask: labels, or None.
    """

    path: Path
    patient: str
    case: str
    images: dict[str, Path | None]
    mask: Path | None

    @property
    def all_files(self) -> list[Path]:
        """Every file, each once."""
        files = (*self.images.values(), self.mask)
        return list(dict.fromkeys(file for file in files if file is not None))


def volume_files(folder: Path) -> list[Path]:
    """All NIfTI and MetaImage files below a folder, sorted; hidden ones are left out.

    Raises:
        SourceError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; give the folder of the data set")
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.name.lower().endswith(SUFFIXES) and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        raise SourceError(f"{folder}: no volume in it ({', '.join(SUFFIXES)}); unpack the data set there first")
    return files


def read_volumes(path: Path) -> NiftiVolume:
    """Read a NIfTI or MetaImage file, `data (X, Y, Z, volumes)`.

    Raises:
        SourceError: the file can't be read.
    """
    return read_metaimage(path) if path.name.lower().endswith((".mha", ".mhd")) else read_nifti(path)


def read_modalities(files: Mapping[str, Path | None]) -> tuple[dict[str, Volume | None], NiftiVolume]:
    """Read the modalities of a case.

    Args:
        files: modality to file, None where it is missing; one file named for all holds them all.

    Returns:
        Modality to volume, and the first file read.

    Raises:
        SourceError: a file can't be read, or holds another number of volumes.
    """
    paths = [path for path in files.values() if path is not None]
    together = len(files) > 1 and len(paths) == len(files) and len(set(paths)) == 1
    read = {path: read_volumes(path) for path in dict.fromkeys(paths)}
    for path, volume in read.items():
        expected = len(files) if together else 1
        if volume.data.shape[3] != expected:
            raise SourceError(
                f"{path}: holds {volume.data.shape[3]} volumes where {expected} {'are' if together else 'is'} needed "
                f"({', '.join(files)}); give the files or the folder of the case"
            )
    stacked: dict[str, Volume | None] = dict.fromkeys(files)
    for channel, (modality, file) in enumerate(files.items()):
        if file is not None:
            data = read[file].data[..., channel if together else 0]
            stacked[modality] = Volume(file, data, read[file].affine)
    return stacked, read[paths[0]]


def read_cases(
    cases: Collection[CaseFiles],
    labels: Collection[int],
    gate: IntegrityGate,
    spacing_mm: Spacing | None,
    relabel: Callable[[np.ndarray, Path], np.ndarray] | None = None,
) -> Iterator[Case]:
    """Read cases one after the other; what can't be read is told to the gate and left out.

    Args:
        cases: to read.
        labels: values a mask may hold besides 0.
        gate: gets the findings.
        spacing_mm: `(slice, row, column)` distances, used where files have a placeholder.
        relabel: brings the values of a mask `(X, Y, Z)` to `labels`.
    """
    for files in track(cases, "Reading cases", len(cases)):
        if files.mask is None:
            gate.error(files.path, "no-mask", "the case has no mask, so there is no truth to learn from; leave it out")
            continue
        try:
            stacked = _stack(files, gate, spacing_mm, relabel)
        except SourceError as error:
            path, _, reason = str(error).partition(": ")
            gate.error(Path(path), "unreadable", reason)
            continue
        if stacked.spacing_is_placeholder:
            gate.warn(
                files.path,
                "placeholder-spacing",
                f"1 mm cubes can't be true for {stacked.case.n_slices} slices; taken as unknown, say --spacing",
            )
        case = stacked.case
        if gate.check_case(files.path, case.images, case.mask, case.patient, case.modalities, labels):
            yield case


def _stack(
    files: CaseFiles,
    gate: IntegrityGate,
    spacing_mm: Spacing | None,
    relabel: Callable[[np.ndarray, Path], np.ndarray] | None,
) -> StackedVolume:
    volumes, _ = read_modalities(files.images)
    assert files.mask is not None
    ((_, mask),) = read_modalities({"mask": files.mask})[0].items()
    assert mask is not None
    if relabel is not None:
        mask = Volume(mask.path, relabel(mask.data, mask.path), mask.affine)
    return stack_volumes(volumes, mask, files.patient, gate.unique_name(files.case), spacing_mm)


def drop_incomplete(cases: Iterable[CaseFiles], gate: IntegrityGate, allow_missing: bool) -> list[CaseFiles]:
    """Cases with all their modalities; of the others the gate is told, unless they are allowed."""
    kept = []
    for case in cases:
        missing = [modality for modality, file in case.images.items() if file is None]
        if missing and (not allow_missing or len(missing) == len(case.images)):
            message = f"the case has no {', '.join(missing)}; add it, or pass --allow-missing"
            gate.error(case.path.parent, "missing-modality", message)
        else:
            kept.append(case)
    return kept
