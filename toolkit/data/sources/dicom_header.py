"""What the header of a DICOM file says: whose image it is, and where each of its frames lies in space."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import SourceError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_VOXELS = 2**27  # 512 cubed; as float32 half a GiB, three times in memory on the way to a case
MAX_FILE_BYTES = 4 * MAX_VOXELS + 2**26
# Longer values are skipped while a header is read, and fetched only if somebody asks for them.
_LONG_VALUE_BYTES = 2**24
_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNIT_TOLERANCE = 0.01
# Beyond these, a length in mm or a scaling is no measurement, and arithmetic would overflow.
_LEAST_MM = 1e-6
_LARGEST = 1e12

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# MR, CT and PET: plain, enhanced, and converted to enhanced. They must have rows, columns and positions.
_SCANS = {_STORAGE + end for end in ("4", "4.1", "4.4", "2", "2.1", "2.2", "128", "130", "128.1")}
# Segmentation, label map, parametric map, dose and spectroscopy have rows and columns, too, but are no scans.
_NO_SCANS = {_STORAGE + end for end in ("66.4", "66.7", "30", "481.2", "4.2")}

# What may tell frames at one position apart, the most telling first: its name in a single-frame
# file; the functional group and the name in a multi-frame one.
TRAITS = {
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "DiffusionGradientOrientation": ("MRDiffusionSequence", "DiffusionGradientDirectionSequence"),
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "ImageType": ("MRImageFrameTypeSequence", "FrameType"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
}

# Words as they stand between anything but letters: scanners write "t1_mprage_ce" and "T1 +C".
_NO_ANATOMY = re.compile(r"(?<![a-z])(dwi|diff|adc|dti|trace|perf|dsc|dce|swi|sub|loc|localizer|scout|survey)(?![a-z])")
_FLAIR = re.compile(r"flair|fluid.?att|dark.?fluid")
_T2 = re.compile(r"t2(?!\s?\*|[ _-]?star)")
_AGENT = r"(contrast|gd|gad[a-z]*|km)"
_CONTRAST = re.compile(
    rf"(?<![a-z])(ce|post{_AGENT}?|{_AGENT})(?![a-z])|\+ ?c(?![a-z])|(?<![a-z])c\+|t1[ _-]?c(?![a-z]|-(\s|$))"
)
_NO_CONTRAST = re.compile(rf"(?<![a-z])(native?|pre{_AGENT}?|(w/?o|without|non?|ohne)[ _-]*{_AGENT})(?![a-z])")
_INVERSION_OF_FLUID_MS = 1500.0  # fat is suppressed at a tenth of it


@dataclass(frozen=True)
class Frame:
    """One slice of a DICOM file, its pixels not yet read.

    Args:
        file: where it is.
        index: its place in the file, from 0.
        rows: height in pixels.
        columns: width in pixels.
        position_mm: centre of the first pixel in DICOM's coordinates (LPS).
        orientation: direction cosines (LPS) along a row, then along a column.
        spacing_mm: distance of neighbouring rows, then of neighbouring columns.
        thickness_mm: distance to the next slice as the header gives it; 1 where it gives none.
        stored_type: NumPy name of the integers the pixels are stored as.
        photometric: `MONOCHROME1`, `MONOCHROME2`, or a colour space.
        slope: stored values are multiplied by it,
        intercept: then this is added.
        traits: what may tell it from other frames at its position, by the names in `TRAITS`.
        missing: no such slice was found; it stands for one, with the header of the slice before it.
    """

    file: Path
    index: int
    rows: int
    columns: int
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    thickness_mm: float
    stored_type: str
    photometric: str
    slope: float
    intercept: float
    traits: dict[str, str]
    missing: bool = False


@dataclass(frozen=True)
class Header:
    """A DICOM file with frames that lie in space.

    Args:
        patient: PatientID; empty where the file names none.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        description: SeriesDescription, else ProtocolName.
        modality: guess, one of `t1n`, `t1c`, `t2w`, `t2f`, or None.
        is_localizer: a scout, planned on but never measured.
        frames: in the order of the file.
    """

    patient: str
    study_uid: str
    series_uid: str
    description: str
    modality: str | None
    is_localizer: bool
    frames: tuple[Frame, ...]


@contextmanager
def distrusted(path: Path) -> Iterator[None]:
    """Whatever reading a damaged file raises becomes a SourceError of one line; pydicom's warnings are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise SourceError(f"{path}: may not be read; give yourself permission to read it") from error
    except Exception as error:  # pydicom has no base for what a damaged file raises
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise SourceError(f"{path}: damaged or cut short ({reason}); copy or export it again") from error


def open_dicom(path: Path, with_pixels: bool) -> Dataset:
    """Read a DICOM file.

    Raises:
        SourceError: it is missing, absurdly large, damaged, or compressed as a whole
            (deflated), so that its true size can't be known beforehand.
    """
    import pydicom
    from pydicom.filereader import read_file_meta_info

    with distrusted(path):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SourceError(f"{path}: over the limit of {MAX_FILE_BYTES} bytes; export it slice by slice")
        if read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED:
            raise SourceError(f"{path}: deflated DICOM is not read; convert it, e.g. with dcmconv +te")
        return pydicom.dcmread(path, defer_size=_LONG_VALUE_BYTES, stop_before_pixels=not with_pixels)


def read_header(path: Path) -> Header | None:
    """Read what a file says about its frames.

    Returns:
        None of a file that is no scan: report, segmentation, screen shot, DICOMDIR.

    Raises:
        SourceError: the file is damaged, or a scan that does not tell where it lies.
    """
    dataset = open_dicom(path, with_pixels=False)
    with distrusted(path):
        sop_class = str(dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID", ""))
        if not _is_scan(dataset, sop_class):
            return None
        return Header(
            patient=_text(dataset, "PatientID"),
            study_uid=_text(dataset, "StudyInstanceUID"),
            series_uid=str(_required(dataset, "SeriesInstanceUID")),
            description=_text(dataset, "SeriesDescription") or _text(dataset, "ProtocolName"),
            modality=guess_modality(dataset),
            is_localizer="LOCALIZER" in _text(dataset, "ImageType"),
            frames=_frames(path, dataset),
        )


def guess_modality(dataset: Dataset) -> str | None:
    """Which of `t1n`, `t1c`, `t2w` and `t2f` an image is, as far as its names and contrast agent tell."""
    names = ("SeriesDescription", "ProtocolName", "AcquisitionContrast")
    text = " ".join(_text(dataset, name) for name in names).lower()
    sequence = _text(dataset, "ScanningSequence")
    if _NO_ANATOMY.search(text) or "EP" in sequence or _text(dataset, "Modality") not in ("", "MR"):
        return None
    if _FLAIR.search(text):
        return "t2f"
    if _T2.search(text):
        inversion = dataset.get("InversionTime")
        nulls_fluid = isinstance(inversion, float) and inversion >= _INVERSION_OF_FLUID_MS
        return "t2f" if "IR" in sequence and nulls_fluid else "t2w"
    if "t1" not in text:
        return None
    agent = _text(dataset, "ContrastBolusAgent").lower()
    given = agent not in ("", "no", "none") or bool(dataset.get("ContrastBolusAgentSequence"))
    return "t1c" if (given or _CONTRAST.search(text)) and not _NO_CONTRAST.search(text) else "t1n"


def _frames(path: Path, dataset: Dataset) -> tuple[Frame, ...]:
    rows, columns = (int(_required(dataset, name)) for name in ("Rows", "Columns"))
    count = int(dataset.get("NumberOfFrames") or 1)
    if min(rows, columns, count) < 1 or rows * columns * count > MAX_VOXELS:
        raise SourceError(
            f"{path}: declares {count} frames of {rows} x {columns}; from 1 to {MAX_VOXELS} voxels can be read"
        )
    if not _is_located(dataset):
        raise SourceError(f"{path}: tells no position and orientation of its slices; export it as Enhanced MR or NIfTI")
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if count > 1 and len(groups or ()) != count:
        raise ValueError(f"{count} frames, but positions of {len(groups or ())}")
    bits = int(_required(dataset, "BitsAllocated"))
    if bits not in (8, 16, 32):
        raise ValueError(f"{bits} bits a pixel")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    expected = rows * columns * count * samples * bits // 8
    # Where nothing is compressed, a file that is cut short is found without reading it.
    if not dataset.file_meta.TransferSyntaxUID.is_compressed and path.stat().st_size < expected:
        raise ValueError(f"{path.stat().st_size} bytes where {expected} bytes of pixels are declared")
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    stored_type = f"{'int' if signed else 'uint'}{bits}"
    return tuple(_frame(path, dataset, index, rows, columns, stored_type) for index in range(count))


def _frame(path: Path, dataset: Dataset, index: int, rows: int, columns: int, stored_type: str) -> Frame:
    orientation = _orientation(functional_group(dataset, index, "PlaneOrientationSequence"))
    measures = functional_group(dataset, index, "PixelMeasuresSequence")
    spacing = _numbers(measures, "PixelSpacing", 2)
    if min(spacing) < _LEAST_MM:
        raise ValueError(f"PixelSpacing {spacing}")
    values = functional_group(dataset, index, "PixelValueTransformationSequence")
    slope = _numbers(values, "RescaleSlope", 1)[0] if "RescaleSlope" in values else 1.0
    if slope == 0:
        raise ValueError("RescaleSlope 0 makes all pixels alike")
    return Frame(
        file=path,
        index=index,
        rows=rows,
        columns=columns,
        position_mm=_numbers(functional_group(dataset, index, "PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=orientation,
        spacing_mm=spacing,
        thickness_mm=_thickness(measures),
        stored_type=stored_type,
        photometric=_text(dataset, "PhotometricInterpretation"),
        slope=slope,
        intercept=_numbers(values, "RescaleIntercept", 1)[0] if "RescaleIntercept" in values else 0.0,
        traits=_traits(dataset, index),
    )


def _is_scan(dataset: Dataset, sop_class: str) -> bool:
    if sop_class in _SCANS or sop_class in _NO_SCANS:
        return sop_class in _SCANS
    if not (dataset.get("Rows") and dataset.get("Columns")):
        return False
    # Several frames of a scanner are a volume, even if its position was lost; a lone picture is a screen shot.
    is_stack = int(dataset.get("NumberOfFrames") or 1) > 1 and _text(dataset, "Modality") in ("MR", "CT", "PT")
    return is_stack or _is_located(dataset)


def _is_located(dataset: Dataset) -> bool:
    position, orientation = (
        functional_group(dataset, 0, f"Plane{what}Sequence") for what in ("Position", "Orientation")
    )
    return bool(position.get("ImagePositionPatient") and orientation.get("ImageOrientationPatient"))


def functional_group(dataset: Dataset, index: int, name: str) -> Dataset:
    """The item of a functional group for one frame, else that for all frames, else the file itself."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[index : index + 1], shared[:1]):
        if groups and groups[0].get(name):
            return groups[0][name][0]
    return dataset


def _traits(dataset: Dataset, index: int) -> dict[str, str]:
    traits = {}
    for name, (group_name, name_in_group) in TRAITS.items():
        group = functional_group(dataset, index, group_name)
        traits[name] = str(group.get(name if group is dataset else name_in_group, ""))
    return traits


def _orientation(item: Dataset) -> tuple[float, ...]:
    cosines = np.reshape(_numbers(item, "ImageOrientationPatient", 6), (2, 3))
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE or abs(cosines[0] @ cosines[1]) > _UNIT_TOLERANCE:
        raise ValueError(f"ImageOrientationPatient {cosines.ravel().tolist()} gives no two directions")
    return tuple((cosines / lengths[:, None]).ravel().tolist())


def _thickness(measures: Dataset) -> float:
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        if measures.get(name) and (thickness := abs(_numbers(measures, name, 1)[0])) > _LEAST_MM:
            return thickness
    return 1.0


def _numbers(item: Dataset, name: str, count: int) -> tuple[float, ...]:
    value = _required(item, name)
    values = tuple(float(number) for number in ([value] if count == 1 else value))
    if len(values) != count or not all(abs(number) < _LARGEST for number in values):
        raise ValueError(f"{name} {values}")
    return values


def _required(item: Dataset, name: str):
    value = item.get(name)
    if value is None or value == "":
        raise ValueError(f"no {name}")
    return value


def _text(dataset: Dataset, name: str) -> str:
    return " ".join(str(dataset.get(name) or "").strip("\0 ").split())
