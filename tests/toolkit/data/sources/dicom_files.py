"""DICOM files as scanners write them, for tests: one file a slice, or one enhanced file."""

import numpy as np
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DS
from scipy.spatial.transform import Rotation

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
TILT = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix()  # columns: along row, along column, normal
COLUMN_MM, ROW_MM, STEP_MM = 0.9, 1.1, 5.0
ORIGIN_MM = np.array([-31.5, 20.25, -12.125])


def voxels(shape=(7, 9, 5), seed=0, dtype=np.int16):
    """`(columns, rows, slices)`, no two slices alike."""
    return np.random.default_rng(seed).integers(0, 900 if np.dtype(dtype).itemsize > 1 else 255, shape).astype(dtype)


def decimals(values):
    return [DS(float(value), auto_format=True) for value in values]


def position_mm(slice_number, axes=TILT):
    return ORIGIN_MM + slice_number * STEP_MM * axes[:, 2]


def header(sop_class, **tags):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    fixed = {
        "SOPInstanceUID": generate_uid(),
        "Modality": "MR",
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": "1.2.3.4",
        "StudyID": "",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "AccessionNumber": "",
        "SeriesInstanceUID": "1.2.3.4.5",
        "FrameOfReferenceUID": "1.2.3.4.6",
        "SeriesDescription": "t1_mprage",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    for name, value in (fixed | tags).items():
        setattr(dataset, name, value)
    return dataset


def set_pixels(dataset, frames):
    """Store `(frames, rows, columns)` or `(rows, columns)`."""
    dataset.Rows, dataset.Columns = frames.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 8 * frames.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(frames.dtype.kind == "i")
    raw = frames.tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB" if frames.dtype.itemsize == 1 else "OW"


def save(dataset, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def write_series(folder, data, axes=TILT, edit=None, compress=None, **tags):
    """One file a slice; names and instance numbers run against the positions.

    Args:
        folder: made where missing.
        data: `(columns, rows, slices)`.
        axes: `(3, 3)` unit vectors as columns, LPS: along a row, along a column, across.
        edit: called with each dataset and its slice number before it is written.
        compress: a transfer syntax.
        tags: attributes of each file.

    Returns:
        The files in the order of positions.
    """
    paths = []
    for number in range(data.shape[2]):
        dataset = header(MR, **tags)
        dataset.InstanceNumber = data.shape[2] - number
        dataset.ImagePositionPatient = decimals(position_mm(number, axes))
        dataset.ImageOrientationPatient = decimals(axes[:, :2].T.ravel())
        dataset.PixelSpacing = decimals([ROW_MM, COLUMN_MM])
        dataset.SliceThickness = "3"  # a gap of 2 mm: no measure of the distance
        set_pixels(dataset, np.ascontiguousarray(data[..., number].T))
        if edit:
            edit(dataset, number)
        if compress:
            dataset.compress(compress, generate_instance_uid=False)
        paths.append(save(dataset, folder / f"{(number * 7 + 3) % 101:03d}.dcm"))
    return paths


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def write_enhanced(path, data, order, slopes=None, echoes=(10.0,), **tags):
    """One enhanced file: for each echo, the slices in the given order.

    Args:
        path: the file.
        data: `(columns, rows, slices)`; the second echo holds it plus one.
        order: slice number of each frame.
        slopes: rescale slope of each slice, or None.
        echoes: echo times in ms.
        tags: attributes of the file.
    """
    dataset = header(ENHANCED_MR, **tags)
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=decimals(TILT[:, :2].T.ravel()))],
            PixelMeasuresSequence=[item(PixelSpacing=decimals([ROW_MM, COLUMN_MM]), SliceThickness="3")],
        )
    ]
    groups, frames = [], []
    for echo_number, echo in enumerate(echoes):
        for number in order:
            group = item(
                PlanePositionSequence=[item(ImagePositionPatient=decimals(position_mm(number)))],
                MREchoSequence=[item(EffectiveEchoTime=echo)],
            )
            if slopes is not None:
                values = item(RescaleSlope=str(slopes[number]), RescaleIntercept="-3", RescaleType="US")
                group.PixelValueTransformationSequence = [values]
            groups.append(group)
            frames.append(data[..., number].T + echo_number)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.NumberOfFrames = len(frames)
    set_pixels(dataset, np.stack(frames).astype(data.dtype))
    return save(dataset, path)
