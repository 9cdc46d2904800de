"""The integrity gate: findings of two weights about the files of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, combinations, count
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from toolkit.errors import IntegrityError

THUMBNAIL = 16
MAX_LISTED = 5
# Two pictures whose thumbnails correlate above this are taken for one: neighbouring
# slices of a scan stay well below it, a re-encoded copy does not.
NEAR_DUPLICATE = 0.9995
# All that follows computes in float32.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Finding:
    """Something the gate has to say about a file.

    Args:
        weight: an `error` stops a command (or the file is left out with
            `--skip-bad`); a `warning` is listed.
        file: path of the file, as given by the user.
        rule: short name of the rule, e.g. `mask-shape`.
        message: one line, what is wrong and what to do.
    """

    weight: Literal["error", "warning"]
    file: str
    rule: str
    message: str


class IntegrityGate:
    """Sees every file of a data set once, and says what is wrong with it.

    It keeps a thumbnail and a checksum of each picture or volume, never its pixels.

    Example:
        gate = IntegrityGate()
        for case in figshare_cases(folder, gate): ...
        gate.finish(skip_bad=False)
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._checksums: dict[bytes, tuple[str, str]] = {}
        self._thumbnails: list[np.ndarray] = []
        self._seen: list[tuple[str, str]] = []
        self._families: dict[str, dict[str, str]] = {}
        self._names: set[str] = set()

    def error(self, file: Path, rule: str, message: str) -> None:
        """Note an error about a file."""
        self.findings.append(Finding("error", str(file), rule, message))

    def warn(self, file: Path, rule: str, message: str) -> None:
        """Note a warning about a file."""
        self.findings.append(Finding("warning", str(file), rule, message))

    def check_slice(self, file: Path, image: np.ndarray, mask: np.ndarray | None, patient: str) -> bool:
        """Check one picture and its mask.

        Args:
            file: where they are from.
            image: `(height, width)`.
            mask: `(height, width)` or None.
            patient: identifier, empty where unknown.

        Returns:
            False if there is an error, so that the file must be left out.
        """
        masks = None if mask is None else mask[None]
        return self._check(file, image[None, ..., None], masks, patient, ("the image",), None)

    def check_case(
        self,
        file: Path,
        images: np.ndarray,
        mask: np.ndarray | None,
        patient: str,
        modalities: tuple[str, ...],
        labels: Collection[int],
    ) -> bool:
        """Check a whole case, such as a volume of several modalities.

        Copies are looked for among cases, not among the slices of one: neighbours
        1 mm apart are nearly alike. One modality at a time is copied, at most twice.

        Args:
            file: where they are from.
            images: `(slices, height, width, modalities)` as stored; a modality that
                the case lacks is all zero, and nothing is said about it.
            mask: `(slices, height, width)` or None.
            patient: identifier, empty where unknown.
            modalities: their names.
            labels: the values the mask may have besides 0.

        Returns:
            False if there is an error, so that the file must be left out.
        """
        return self._check(file, images, mask, patient, modalities, labels)

    def see_patient(self, file: Path, patient: str, family: str) -> None:
        """Note that a file is of a patient whose identifier belongs to a family (its stem)."""
        self._families.setdefault(family, {}).setdefault(patient, str(file))

    def unique_name(self, name: str) -> str:
        """`name`, safe as a file name, with a number behind it if it was given out before.

        Names that differ only in the case of letters count as the same: some file systems see it so.
        """
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name) or "case"
        numbered = (f"{safe}_{number}" for number in count(2))
        unique = next(n for n in chain([safe], numbered) if n.casefold() not in self._names)
        self._names.add(unique.casefold())
        return unique

    def finish(self, skip_bad: bool) -> list[Finding]:
        """Compare all pictures and patients, and judge.

        Args:
            skip_bad: errors do not stop; the files named by them were left out.

        Raises:
            IntegrityError: there are errors and `skip_bad` is false.
        """
        for family, patients in self._families.items():
            if len(patients) > 1:
                names = ", ".join(sorted(patients))
                file = Path(patients[max(patients)])
                self.warn(file, "patient-family", f"{names} share the stem {family}: kept together in every split")
        self._near_duplicates()
        errors = [finding for finding in self.findings if finding.weight == "error"]
        if errors and not skip_bad:
            first = errors[0]
            others = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
            raise IntegrityError(f"{first.file}: {first.message}{others}; or pass --skip-bad to leave such files out")
        return self.findings

    def _n_errors(self) -> int:
        return sum(finding.weight == "error" for finding in self.findings)

    def _check(
        self,
        file: Path,
        images: np.ndarray,
        mask: np.ndarray | None,
        patient: str,
        modalities: tuple[str, ...],
        labels: Collection[int] | None,
    ) -> bool:
        """As `check_case`; where `labels` is None, the mask may have one value besides 0, whichever."""
        before = self._n_errors()
        if not patient:
            self.error(file, "no-patient", "names no patient, so it can't be split by patient; leave it out")
        if images.size == 0:
            self.error(file, "empty-image", "the image has no pixels; fetch the file again")
        elif not _is_finite(images):
            self.error(file, "not-finite", "the image holds NaN, infinity or numbers beyond float32; leave it out")
        elif mask is not None and mask.shape != images.shape[:3]:
            sizes = f"mask {mask.shape} does not fit image {images.shape[:3]} (slices, rows, columns)"
            self.error(file, "mask-shape", f"{sizes}; leave it out")
        elif mask is not None:
            self._check_values(file, _values(mask), labels)
        if self._n_errors() > before:
            return False
        varied = self._check_modalities(file, images, modalities)
        if varied:
            if mask is not None:
                self._check_place(file, images, varied, mask)
            self._remember(file, images, varied[0], patient)
        return True

    def _check_values(self, file: Path, values: np.ndarray, labels: Collection[int] | None) -> None:
        marks = values[values != 0]
        if labels is None:
            if len(marks) > 1 or not np.isfinite(marks).all():
                self.error(file, "mask-values", "the mask has values other than 0 and one more; make it binary")
            elif len(marks) and marks[0] != 1:
                self.warn(file, "mask-values", f"mask values {values.tolist()} are taken as background and tumour")
            return
        strange = marks[~np.isin(marks, list(labels))]
        if len(strange):
            known = ", ".join(str(label) for label in sorted({0, *labels}))
            listed = ", ".join(f"{float(value):g}" for value in strange[:MAX_LISTED])
            listed += ", …" if len(strange) > MAX_LISTED else ""
            self.error(file, "mask-values", f"the mask holds {listed}, but the labels are {known}; leave it out")

    def _check_modalities(self, file: Path, images: np.ndarray, modalities: tuple[str, ...]) -> list[int]:
        """Which modalities show anything, and warnings about those that do not or are copies."""
        ends = [(images[..., m].min(), images[..., m].max()) for m in range(len(modalities))]
        varied = [m for m, (low, high) in enumerate(ends) if low < high]
        blank = all(low == high == 0 for low, high in ends)
        for m, (low, high) in enumerate(ends):
            if low == high and (high != 0 or blank):
                self.warn(file, "constant-image", f"every pixel of {modalities[m]} has the same value")
        for one, other in combinations(varied, 2):
            if all(np.array_equal(rows[..., one], rows[..., other]) for rows in images):
                names = f"{modalities[one]} and {modalities[other]}"
                self.warn(file, "same-modalities", f"{names} are the same voxel for voxel: one stands in for the other")
        return varied

    def _check_place(self, file: Path, images: np.ndarray, varied: list[int], mask: np.ndarray) -> None:
        inside = mask != 0
        if not inside.any():
            # A slice beside the tumour is nothing to speak of, a whole scan without one is.
            if len(mask) > 1:
                self.warn(file, "empty-mask", "the mask marks nothing in any slice")
        elif all(_is_background(images[..., m], inside) for m in varied):
            self.warn(file, "mask-outside-head", "the mask lies where the image shows background only")

    def _remember(self, file: Path, images: np.ndarray, modality: int, patient: str) -> None:
        """Keep checksum and thumbnail, unless the same pixels were seen before."""
        digest = hashlib.sha256()
        for rows in images:
            digest.update(rows.tobytes())
        checksum = digest.digest()
        if checksum in self._checksums:
            other, owner = self._checksums[checksum]
            self.warn(file, "duplicate", f"the same picture as {_whose(other, owner, patient)}")
            return
        self._checksums[checksum] = (str(file), patient)
        middle = images[len(images) // 2, ..., modality].astype(np.float32)
        small = cv2.resize(middle, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        centred = small.ravel() - small.mean()
        self._thumbnails.append(centred / max(float(np.linalg.norm(centred)), 1e-12))
        self._seen.append((str(file), patient))

    def _near_duplicates(self) -> None:
        """All pairs, some rows at a time, so that memory stays linear in the number of pictures."""
        if not self._thumbnails:
            return
        thumbnails = np.stack(self._thumbnails)
        for start in range(0, len(thumbnails), 512):
            alike = thumbnails[start : start + 512] @ thumbnails.T > NEAR_DUPLICATE
            for row, column in zip(*np.nonzero(np.tril(alike, start - 1)), strict=True):
                (file, patient), (other, owner) = self._seen[start + row], self._seen[column]
                self.warn(Path(file), "near-duplicate", f"almost the same picture as {_whose(other, owner, patient)}")


def _whose(file: str, owner: str, patient: str) -> str:
    return f"{file} of " + ("the same patient" if owner == patient else f"another patient, {owner}")


def _is_finite(images: np.ndarray) -> bool:
    """Slice by slice, as the comparison makes copies; NaN fails every comparison."""
    return images.dtype.kind != "f" or all(bool((np.abs(rows) <= LARGEST).all()) for rows in images)


def _values(mask: np.ndarray) -> np.ndarray:
    """All values of `(slices, height, width)`, sorted; slice by slice, as sorting makes copies."""
    return np.unique(np.concatenate([np.unique(rows) for rows in mask]))


def _is_background(image: np.ndarray, inside: np.ndarray) -> bool:
    return bool(image[inside].max() <= np.percentile(image, 5))
