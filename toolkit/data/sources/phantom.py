"""Synthetic patients: a schematic head with a tumour, scanned in three planes.

For the demo and for tests only; every case says `synthetic=True`. A patient's
head and tumour are continuous functions of space (`phantom_head.py`,
`phantom_tumours.py`), so the three planes show the same tumour in the same
place, and neighbouring slices follow on from each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.data.case import Case
from toolkit.data.sources.phantom_head import Head
from toolkit.data.sources.phantom_tumours import TUMOUR_TYPES, Tumour
from toolkit.errors import UsageError

SYNTHETIC_MARK = b"synthetic phantom"  # in the description of a NIfTI file
FIELD_OF_VIEW_MM = 230.4  # 256 pixels of 0.9 mm
BLANK_PART = 0.2  # of a stack's slices, beyond the tumour
NOISE = 0.025  # deviation of either channel, fat being 1
VIEW_CENTRE_MM = np.array([0.0, 0.0, -18.0])  # face and neck reach further down than the brain goes up

# World direction (right, anterior, superior) of one step in slice, row and column, as a radiologist
# sees the plane: the patient's right on the left of the picture, or the nose on the left.
PLANE_AXES = {
    "axial": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
}


@dataclass(frozen=True)
class _Patient:
    name: str
    head: Head
    tumour: Tumour
    tumour_type: str
    tumour_box_mm: np.ndarray  # (2, 3) lowest and highest world coordinate inside
    gain: float
    offset: float


def phantom_cases(n_patients: int, seed: int, size: int = 96, slices: int = 8) -> Iterator[Case]:
    """Synthetic cases, three a patient (axial, coronal, sagittal), made one at a time.

    Patient k is the same whatever `n_patients` is. The three looks of tumour take
    turns. A stack is planned on the tumour and reaches beyond it, so that about a
    fifth of the slices (of eight) show none.

    Args:
        n_patients: how many patients, at least 1.
        seed: seed of everything random, at least 0.
        size: height and width of a slice in pixels, at least 16; the field of view is 230.4 mm.
        slices: slices of a case, at least 1.

    Returns:
        Iterator of cases with int16 images `(slices, size, size, 1)`, one modality
        `t1c`, mask of 0 and 1 (the whole tumour, core included), spacing in mm, and
        an affine from (slice, row, column) to right-anterior-superior mm.

    Raises:
        UsageError: an argument is below its least value.
    """
    least = {"n_patients": (n_patients, 1), "seed": (seed, 0), "size": (size, 16), "slices": (slices, 1)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise UsageError(f"phantom: {name} is {value}; give at least {minimum}")
    return (case for index in range(n_patients) for case in _patient_cases(seed, index, size, slices))


def _patient_cases(seed: int, index: int, size: int, slices: int) -> Iterator[Case]:
    rng = np.random.default_rng([seed, index])
    patient = _draw_patient(rng, index)
    for plane in PLANE_AXES:
        yield _scan(patient, plane, rng, size, slices)


def _draw_patient(rng: np.random.Generator, index: int) -> _Patient:
    tumour_type = list(TUMOUR_TYPES)[index % len(TUMOUR_TYPES)]
    head, tumour = Head.draw(rng), TUMOUR_TYPES[tumour_type].draw(rng)
    return _Patient(
        name=f"phantom-{index:04d}",
        head=head,
        tumour=tumour,
        tumour_type=tumour_type,
        tumour_box_mm=_tumour_box(head, tumour),
        gain=float(np.exp(rng.uniform(np.log(200.0), np.log(5000.0)))),
        offset=rng.uniform(0.0, 300.0),
    )


def _tumour_box(head: Head, tumour: Tumour, reach_mm: float = 48.0, step_mm: float = 2.5) -> np.ndarray:
    steps = np.arange(-reach_mm, reach_mm + step_mm, step_mm, dtype=np.float32)
    around = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, -1)
    world = around + head.to_world(np.array(tumour.centre_mm))[:, None]
    inside = world[:, tumour.distance(head, head.to_head(world)) < 0]
    return np.stack([inside.min(axis=1) - step_mm / 2, inside.max(axis=1) + step_mm / 2])


def _plan_affine(patient: _Patient, plane: str, rng: np.random.Generator, size: int, slices: int) -> np.ndarray:
    """`(4, 4)` (slice, row, column) to world mm of a stack that holds the tumour and a little more."""
    axes = np.array(PLANE_AXES[plane], float).T
    normal = int(np.abs(axes[:, 0]).argmax())
    low, high = patient.tumour_box_mm[:, normal]
    blanks = min(int(slices * BLANK_PART + rng.random()), slices - 1)
    thickness = (high - low) / (slices - blanks)
    # The first slice with tumour lies half a slice into it, so no slice shows a mere speck.
    first = low + (0.5 + rng.uniform(-0.15, 0.15) - rng.integers(0, blanks + 1)) * thickness
    centre = VIEW_CENTRE_MM.copy()
    centre[normal] = first + (slices - 1) / 2 * thickness
    affine = np.eye(4)
    affine[:3, :3] = axes * [thickness, FIELD_OF_VIEW_MM / size, FIELD_OF_VIEW_MM / size]
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array([slices, size, size]) - 1) / 2
    return affine


def _scan(patient: _Patient, plane: str, rng: np.random.Generator, size: int, slices: int) -> Case:
    affine = _plan_affine(patient, plane, rng, size, slices)
    thickness, pixel_mm, _ = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    index = np.indices((slices, size, size), dtype=np.float32)
    step, origin = affine[:3, :3].astype(np.float32), affine[:3, 3].astype(np.float32)
    world = np.einsum("ij,jshw->ishw", step, index) + origin.reshape(3, 1, 1, 1)
    points = patient.head.to_head(world)
    signal = patient.head.paint(points, pixel_mm)
    distance = patient.tumour.distance(patient.head, points)
    patient.tumour.paint(patient.head, points, distance, signal, pixel_mm)
    measured = patient.gain * _acquire(signal, world, rng) + patient.offset
    return Case(
        images=np.rint(measured).clip(0, np.iinfo(np.int16).max).astype(np.int16)[..., None],
        mask=(distance < 0).astype(np.uint8),
        patient=patient.name,
        case=f"{patient.name}-{plane}",
        modalities=("t1c",),
        affine=affine,
        spacing_mm=(thickness, pixel_mm, pixel_mm),
        plane=plane,
        tumour_type=patient.tumour_type,
        synthetic=True,
    )


def _acquire(signal: np.ndarray, world: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the coil makes of `(slices, height, width)`: shading, drift between slices, Rician noise.

    The magnitude of a complex signal with Gaussian noise in both channels is Rician
    (Gudbjartsson and Patz 1995, eq. 1).
    """
    x, y, z = world / np.float32(FIELD_OF_VIEW_MM / 2)
    tilt, bowl = rng.uniform(-0.12, 0.12, 3), rng.uniform(-0.08, 0.08)
    shading = 1.0 + tilt[0] * x + tilt[1] * y + tilt[2] * z + bowl * (x * x + y * y + z * z)
    drift = 1.0 + 0.015 * rng.standard_normal(len(signal)).cumsum().clip(-4.0, 4.0)
    shaded = (signal * shading * drift[:, None, None]).astype(np.float32)
    noise = NOISE * rng.standard_normal((2, *signal.shape), dtype=np.float32)
    return np.hypot(shaded + noise[0], noise[1])
