"""A mask as a DICOM SEG object that refers to the slices it was made from; needs the `dicom` extra."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import toolkit
from toolkit.data.sources.dicom import DicomSeries
from toolkit.data.sources.dicom_header import functional_group, open_dicom
from toolkit.errors import OutputError, SourceError
from toolkit.files import atomic_path

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset
    from pydicom.sr.coding import Code

PRODUCT = "brain-tumour-segmentation"
SERIES_NUMBER = 1000  # behind those of the scanner
_MAX_TEXT = 64  # characters of DICOM's long strings

# SNOMED CT codes and their meanings.
_CATEGORY = ("49755003", "Morphologically Abnormal Structure")
_BRAIN = ("12738006", "Brain")
_NEOPLASM = ("108369006", "Neoplasm")
_EDEMA = ("79654002", "Edema")
_NECROSIS = ("6574001", "Necrosis")
_TYPE_OF_LABEL = {"oedema": _EDEMA, "edema": _EDEMA, "necrotic_core": _NECROSIS, "necrosis": _NECROSIS}

# What a segmentation takes over from its source and must have, even if empty: anonymisers drop some.
_TAKEN_OVER = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


def can_write_dicom_seg() -> bool:
    """Whether the library that writes DICOM SEG is installed."""
    return find_spec("highdicom") is not None


def write_dicom_seg(
    series: DicomSeries, volume: np.ndarray, labels: Mapping[str, int], path: Path, algorithm: str
) -> Path:
    """Write a mask as a DICOM SEG, one binary segment for each label.

    Args:
        series: what the mask was predicted from; its files must still be there.
        volume: `(columns, rows, slices)` uint8 label values, as in `DicomVolume.data`.
        labels: name to value; those above 0 become segments 1, 2 … in this order, also if empty.
        path: the file to write.
        algorithm: name of the model, stated as the one who made the segments.

    Returns:
        The file written.

    Raises:
        OutputError: it can't be written, or highdicom is missing.
        SourceError: a file of the series can't be read any more, or lacks what DICOM demands of
            the source of a segmentation, e.g. a frame of reference.
        ValueError: the volume has another shape than the series, or unknown labels.
    """
    if volume.shape != (series.columns, series.rows, series.n_slices):
        raise ValueError(f"volume {volume.shape} does not fit {series.columns, series.rows, series.n_slices}")
    names = [name for name, value in labels.items() if value > 0]
    known = {0, *(labels[name] for name in names)}
    if not names or not known.issuperset(np.unique(volume).tolist()):
        raise ValueError(f"labels {np.unique(volume).tolist()} in a mask of {dict(labels)}")
    if not can_write_dicom_seg():
        raise OutputError(f"{path}: DICOM SEG needs highdicom; pip install 'brain-tumour-segmentation[dicom]'")
    segment_of = np.zeros(256, np.uint8)
    for number, name in enumerate(names, start=1):
        segment_of[labels[name]] = number
    sources = _sources(series)
    slices = np.ascontiguousarray(segment_of[volume].transpose(2, 1, 0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            segmentation = _segmentation(sources, slices, names, algorithm)
            _name_true_frames(segmentation, series)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        folder = series.files[0].parent
        raise SourceError(f"{folder}: lacks what DICOM SEG demands ({reason}); use the NIfTI mask") from error
    with atomic_path(path) as partial:
        segmentation.save_as(partial)
    return path


def _sources(series: DicomSeries) -> list[Dataset]:
    """Headers of the source files in order of position, with all that highdicom insists on."""
    from pydicom import Dataset
    from pydicom.valuerep import format_number_as_ds

    sources = [open_dicom(file, with_pixels=False) for file in series.files]
    if len(sources) > 1 and any("PerFrameFunctionalGroupsSequence" in source for source in sources):
        raise SourceError(f"{series.files[0]}: DICOM SEG can refer to one multi-frame file only; use the NIfTI mask")
    step_mm = float(np.linalg.norm(series.affine[:3, 2]))
    # Frames of one stack may differ in the last digits of their orientation; highdicom takes one for all.
    index = series.frames[0].index
    orientation = functional_group(sources[0], index, "PlaneOrientationSequence")
    measures = functional_group(sources[0], index, "PixelMeasuresSequence")
    for source in sources:
        for name in _TAKEN_OVER:
            if name not in source:
                setattr(source, name, "")
        geometry = Dataset()
        geometry.ImageOrientationPatient = orientation.ImageOrientationPatient
        geometry.PixelSpacing = measures.PixelSpacing
        # The header's word on it may be missing or wrong; positions are what the volume is made of.
        geometry.SpacingBetweenSlices = format_number_as_ds(step_mm)
        geometry.SliceThickness = measures.get("SliceThickness") or geometry.SpacingBetweenSlices
        if "PerFrameFunctionalGroupsSequence" in source:
            # Frames of another stack or echo may be in the file, too.
            per_frame = source.PerFrameFunctionalGroupsSequence
            source.PerFrameFunctionalGroupsSequence = [per_frame[frame.index] for frame in series.frames]
            source.NumberOfFrames = series.n_slices
            shared = Dataset()
            shared.PlaneOrientationSequence = [geometry]
            shared.PixelMeasuresSequence = [geometry]
            source.SharedFunctionalGroupsSequence = [shared]
        else:
            source.update(geometry)
    return sources


def _name_true_frames(segmentation: Segmentation, series: DicomSeries) -> None:
    """References to frames count those of the series; let them count those of its file."""
    # Frames of several segments share the items.
    images = {
        id(image): image
        for groups in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in groups.get("DerivationImageSequence", ())
        for image in derivation.SourceImageSequence
        if "ReferencedFrameNumber" in image
    }
    for image in images.values():
        image.ReferencedFrameNumber = series.frames[int(image.ReferencedFrameNumber) - 1].index + 1


def _segmentation(sources: list[Dataset], slices: np.ndarray, names: list[str], algorithm: str) -> Segmentation:
    from highdicom import UID, AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentationTypeValues
    from pydicom.sr.codedict import codes

    made_by = AlgorithmIdentificationSequence(
        name=algorithm[:_MAX_TEXT], family=codes.cid7162.ArtificialIntelligence, version=toolkit.__version__
    )
    return Segmentation(
        source_images=sources,
        pixel_array=slices,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(number, name, made_by) for number, name in enumerate(names, start=1)],
        series_instance_uid=UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer=PRODUCT,
        manufacturer_model_name=PRODUCT,
        software_versions=toolkit.__version__,
        device_serial_number="none",
        content_description="Tumour segmentation",
    )


def _description(number: int, name: str, made_by: AlgorithmIdentificationSequence) -> SegmentDescription:
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    return SegmentDescription(
        segment_number=number,
        segment_label=name[:_MAX_TEXT],
        segmented_property_category=_code(_CATEGORY),
        segmented_property_type=_code(_TYPE_OF_LABEL.get(name, _NEOPLASM)),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=made_by,
        anatomic_regions=[_code(_BRAIN)],
    )


def _code(value_and_meaning: tuple[str, str]) -> Code:
    from pydicom.sr.coding import Code

    value, meaning = value_and_meaning
    return Code(value, "SCT", meaning)
