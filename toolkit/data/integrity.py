"""The integrity gate: findings of two weights about the files of a data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from toolkit.errors import IntegrityError

THUMBNAIL = 16
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

    It keeps a thumbnail and a checksum of each picture, never the picture.

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
        before = self._n_errors()
        if not patient:
            self.error(file, "no-patient", "names no patient, so it can't be split by patient; leave it out")
        if image.size == 0:
            self.error(file, "empty-image", "the image has no pixels; fetch the file again")
        elif not (np.abs(image) <= LARGEST).all():  # NaN fails every comparison
            self.error(file, "not-finite", "the image holds NaN, infinity or numbers beyond float32; leave it out")
        elif mask is not None and mask.shape != image.shape:
            self.error(file, "mask-shape", f"mask {mask.shape} does not fit image {image.shape}; leave it out")
        elif mask is not None and not _is_binary(mask):
            self.error(file, "mask-values", "the mask has values other than 0 and one more; make it binary")
        if self._n_errors() > before:
            return False
        self._warnings(file, image, mask, patient)
        return True

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

    def _warnings(self, file: Path, image: np.ndarray, mask: np.ndarray | None, patient: str) -> None:
        if image.min() == image.max():
            self.warn(file, "constant-image", "every pixel has the same value")
            return
        if mask is not None and set(np.unique(mask)) - {0, 1}:
            self.warn(
                file,
                "mask-values",
                f"mask values {np.unique(mask).tolist()} are taken as background and tumour",
            )
        if mask is not None and mask.any() and image[mask != 0].max() <= np.percentile(image, 5):
            self.warn(file, "mask-outside-head", "the mask lies where the image shows background only")
        checksum = hashlib.sha256(image.tobytes()).digest()
        if checksum in self._checksums:
            other, other_patient = self._checksums[checksum]
            whose = "the same patient" if other_patient == patient else f"another patient, {other_patient}"
            self.warn(file, "duplicate", f"the same picture as {other} of {whose}")
            return
        self._checksums[checksum] = (str(file), patient)
        small = cv2.resize(image.astype(np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
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
                (file, patient), (other, other_patient) = self._seen[start + row], self._seen[column]
                whose = "the same patient" if other_patient == patient else f"another patient, {other_patient}"
                self.warn(Path(file), "near-duplicate", f"almost the same picture as {other} of {whose}")


def _is_binary(mask: np.ndarray) -> bool:
    values = np.unique(mask)
    return bool(np.isfinite(values).all()) and len(values[values != 0]) <= 1
