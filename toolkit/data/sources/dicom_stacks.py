"""Frames of a DICOM series sorted into stacks of parallel, evenly spaced slices.

Neither file names nor instance numbers are believed: slices are put in order by
their positions, and the distance of slices is that of the positions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from toolkit.data.sources.dicom_header import TRAITS, Frame
from toolkit.data.sources.dicom_pixels import read_frames
from toolkit.errors import SourceError

# Direction cosines and pixel spacing are written with as few as four digits.
_SAME_COSINE = 5e-4
_SAME_SPACING_PART = 5e-4
_SAME_POSITION_MM = 1e-3
UNEVEN_PART = 0.01  # of the distance of slices
UNEVEN_MM = 0.01

_PLACES_TOLD = 3

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Tell = Callable[[Path, str, str], None]


class Findings(Protocol):
    """Who is told what is wrong with a file, e.g. an `IntegrityGate`."""

    def error(self, file: Path, rule: str, message: str) -> None:
        """The file, or the series it belongs to, can't be used."""

    def warn(self, file: Path, rule: str, message: str) -> None:
        """Worth knowing, but nothing is left out for it that was not there twice."""


def sort_into_stacks(
    frames: Iterable[Frame], findings: Findings, tell: Tell, fill_gaps: bool = False
) -> Iterator[tuple[Frame, ...]]:
    """The usable stacks among the frames of one series, each sorted along its normal.

    Args:
        frames: in any order.
        findings: is told of copies of slices.
        tell: is told why a stack is unusable (`slice-conflict`, `slice-gap`, `unreadable`).
        fill_gaps: where whole slices are missing, put frames that say so in their places.
    """
    for parallel in _parallel_stacks(frames):
        for stack in _split_repeats(parallel):
            single = _one_a_position(stack, findings, tell)
            single = _with_missing(single) if single and fill_gaps else single
            if single and _is_even(single, tell):
                yield tuple(single)


def _parallel_stacks(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames of the same size and orientation, sorted by position."""
    stacks: list[list[Frame]] = []
    for frame in frames:
        stack = next((stack for stack in stacks if _is_parallel(frame, stack[0])), None)
        if stack is None:
            stacks.append([frame])
        else:
            stack.append(frame)
    return [[stack[number] for number in np.argsort(_heights_mm(stack), kind="stable")] for stack in stacks]


def _is_parallel(frame: Frame, other: Frame) -> bool:
    return (
        (frame.rows, frame.columns) == (other.rows, other.columns)
        and np.allclose(frame.orientation, other.orientation, rtol=0, atol=_SAME_COSINE)
        and np.allclose(frame.spacing_mm, other.spacing_mm, rtol=_SAME_SPACING_PART, atol=0)
    )


def _normal(stack: Sequence[Frame]) -> np.ndarray:
    """Unit vector `(3,)` across the slices, LPS; of the first, as each frame's own differs in the last digits."""
    across = np.cross(stack[0].orientation[:3], stack[0].orientation[3:])
    return across / np.linalg.norm(across)


def _heights_mm(stack: Sequence[Frame]) -> np.ndarray:
    return np.array([frame.position_mm for frame in stack]) @ _normal(stack)


def _split_repeats(stack: list[Frame]) -> list[list[Frame]]:
    """Split a stack whose positions repeat by the first trait that explains it.

    A trait that has more values than there are frames at any one position, such as a
    number that counts slices, explains nothing.
    """
    positions = _positions(stack)
    most = max(map(len, positions))
    if most == 1:
        return [stack]
    for trait in TRAITS:
        values = dict.fromkeys(frame.traits[trait] for frame in stack)
        differ = any(len({frame.traits[trait] for frame in frames}) > 1 for frames in positions)
        if differ and len(values) <= most:
            parts = [[frame for frame in stack if frame.traits[trait] == value] for value in values]
            return [whole for part in parts for whole in _split_repeats(part)]
    return [stack]


def _positions(stack: list[Frame]) -> list[list[Frame]]:
    """The frames at each position of a sorted stack."""
    heights = _heights_mm(stack)
    starts = np.flatnonzero(np.diff(heights, prepend=-np.inf) >= _SAME_POSITION_MM)
    return [stack[start:stop] for start, stop in zip(starts, [*starts[1:], len(stack)], strict=True)]


def _one_a_position(stack: list[Frame], findings: Findings, tell: Tell) -> list[Frame]:
    """The stack without copies of slices; empty if different slices lie at one position."""
    positions = _positions(stack)
    digests = _digests([frame for frames in positions if len(frames) > 1 for frame in frames], tell)
    if digests is None:
        return []
    copies: dict[Path, Path] = {}
    for first, *others in positions:
        for other in others:
            if digests[other.file, other.index] != digests[first.file, first.index]:
                where = ", ".join(f"{mm:g}" for mm in first.position_mm)
                message = (
                    f"another slice than {first.file} at the same position ({where} mm), and nothing in the "
                    "headers tells why; keep one of them"
                )
                tell(other.file, "slice-conflict", message)
                return []
            copies[other.file] = first.file
    for file, original in copies.items():
        findings.warn(file, "duplicate-slice", f"the same slice as in {original}; kept once")
    return [frames[0] for frames in positions]


def _digests(frames: list[Frame], tell: Tell) -> dict[tuple[Path, int], bytes] | None:
    """A checksum of the values of each frame; None if a file can't be read."""
    digests = {}
    for file, wanted in by_file(frames).items():
        try:
            for index, pixels in read_frames(file, wanted):
                frame = frames[wanted[index]]
                scaling = repr((frame.slope, frame.intercept)).encode()
                digests[file, index] = hashlib.sha256(pixels.tobytes() + scaling).digest()
        except SourceError as error:
            tell(file, "unreadable", str(error).removeprefix(f"{file}: "))
            return None
    return digests


def by_file(frames: Sequence[Frame]) -> dict[Path, dict[int, int]]:
    """For each file, index in the file to index in `frames`; what is missing is in none."""
    files: dict[Path, dict[int, int]] = {}
    for number, frame in enumerate(frames):
        if not frame.missing:
            files.setdefault(frame.file, {})[frame.index] = number
    return files


def _with_missing(stack: list[Frame]) -> list[Frame]:
    """The stack with a frame at each place left empty, where these are fewer than the slices."""
    gaps = np.diff(_heights_mm(stack))
    steps = np.rint(gaps / gaps.min(initial=np.inf))
    even = np.allclose(gaps, steps * gaps.min(initial=np.inf), rtol=UNEVEN_PART, atol=UNEVEN_MM)
    if not even or steps.sum() - len(gaps) >= len(stack):
        return stack
    filled = []
    for frame, behind, step in zip(stack, stack[1:], steps.astype(int), strict=False):
        places = np.linspace(frame.position_mm, behind.position_mm, step, endpoint=False)[1:]
        filled += [frame, *(replace(frame, position_mm=tuple(map(float, mm)), missing=True) for mm in places)]
    return [*filled, stack[-1]]


def _is_even(stack: list[Frame], tell: Tell) -> bool:
    """Whether slices follow each other at even distances along a straight line across them."""
    if len(stack) == 1:
        return True
    heights = _heights_mm(stack)
    gaps = np.diff(heights)
    expected = float(np.median(gaps))
    allowed = max(UNEVEN_PART * expected, UNEVEN_MM)
    uneven = np.flatnonzero(np.abs(gaps - expected) > allowed)
    if uneven.size:
        places = [f"{gaps[at]:g} mm from {heights[at]:g} to {heights[at + 1]:g} mm" for at in uneven[:_PLACES_TOLD]]
        more = f" and {uneven.size - len(places)} more" if uneven.size > len(places) else ""
        message = f"slices lie {expected:g} mm apart, but {', '.join(places)}{more}; find the missing ones"
        tell(stack[uneven[0] + 1].file, "slice-gap", message)
        return False
    positions = np.array([frame.position_mm for frame in stack])
    step = _step_mm(stack)
    line = positions[0] + np.arange(len(stack))[:, None] * step
    aside = max(
        float(np.linalg.norm(positions - line, axis=1).max()),
        float(np.linalg.norm(step - step @ _normal(stack) * _normal(stack))),
    )
    if aside > allowed:
        message = f"slices are shifted sideways by {aside:g} mm (tilted gantry?); resample them to a straight stack"
        tell(stack[0].file, "slice-gap", message)
    return aside <= allowed


def _step_mm(stack: Sequence[Frame]) -> np.ndarray:
    """From slice to slice, `(3,)` LPS; a lone slice has but the thickness its header gives."""
    if len(stack) == 1:
        return _normal(stack) * stack[0].thickness_mm
    first, last = (np.array(stack[at].position_mm) for at in (0, -1))
    return (last - first) / (len(stack) - 1)


def stack_affine(stack: Sequence[Frame]) -> np.ndarray:
    """`(4, 4)`, `(column, row, slice)` indices to world RAS mm: DICOM PS3.3 equation C.7.6.2.1-1."""
    first = stack[0]
    row_mm, column_mm = first.spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * column_mm
    affine[:3, 1] = np.array(first.orientation[3:]) * row_mm
    affine[:3, 2] = _step_mm(stack)
    affine[:3, 3] = first.position_mm
    return _LPS_TO_RAS @ affine
