"""Three looks of tumour for the schematic head, after the classes of the figshare set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toolkit.data.sources.phantom_head import CAVITY_RADII_MM, Head, cover, ellipsoid, over


class Tumour(Protocol):
    """What the scanner needs to know of a tumour; all in the head frame, mm."""

    @property
    def centre_mm(self) -> tuple:
        """Middle of the tumour: right, anterior, superior."""

    def distance(self, head: Head, points: np.ndarray) -> np.ndarray:
        """Signed distance to the whole tumour; `points` is `(3, ...)`."""

    def paint(self, head: Head, points: np.ndarray, distance: np.ndarray, signal: np.ndarray, width_mm: float) -> None:
        """Paint the tumour over `signal` in place; edges are averaged over `width_mm`."""


@dataclass(frozen=True)
class Meningioma:
    """Evenly bright, sharply bounded, flat against the inside of the skull."""

    centre_mm: tuple
    radii_mm: tuple

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Meningioma:
        """Draw one somewhere on the vault, more than half of it inside."""
        height, around = rng.uniform(-0.1, 0.85), rng.uniform(0.0, 2 * np.pi)
        flat = np.sqrt(1.0 - height**2)
        on_vault = np.array([flat * np.cos(around), flat * np.sin(around), height]) * CAVITY_RADII_MM
        size = rng.uniform(18.0, 25.0)
        centre = on_vault * (1.0 - 0.55 * size / np.linalg.norm(on_vault))
        return cls(tuple(centre), tuple(size * rng.uniform(0.88, 1.12, 3)))

    def distance(self, head: Head, points: np.ndarray) -> np.ndarray:
        """Signed distance to the whole tumour; `points` is `(3, ...)`."""
        return np.maximum(ellipsoid(points, self.centre_mm, self.radii_mm), head.cavity(points) + 0.5)

    def paint(self, head: Head, points: np.ndarray, distance: np.ndarray, signal: np.ndarray, width_mm: float) -> None:
        """Paint a thin cleft of fluid, then the even tumour."""
        over(signal, cover(np.maximum(distance - 2.0, head.cavity(points)), width_mm), 0.22)
        over(signal, cover(distance, width_mm), 0.86 + 0.015 * head.texture.at(points, 1.2, 70.0))


@dataclass(frozen=True)
class Glioma:
    """Irregular, with a bright ring around a dark necrotic core, in swollen white matter."""

    centre_mm: tuple
    radii_mm: tuple
    rim_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Glioma:
        """Draw one deep in either hemisphere."""
        side = rng.choice([-1.0, 1.0])
        centre = (side * rng.uniform(24.0, 36.0), rng.uniform(-38.0, 38.0), rng.uniform(0.0, 30.0))
        return cls(centre, tuple(rng.uniform(19.0, 26.0) * rng.uniform(0.85, 1.15, 3)), rng.uniform(4.5, 6.5))

    def distance(self, head: Head, points: np.ndarray) -> np.ndarray:
        """Signed distance to the whole tumour; `points` is `(3, ...)`."""
        lobes = 2.6 * head.texture.at(points, 0.5, 130.0)
        return np.maximum(ellipsoid(points, self.centre_mm, self.radii_mm) + lobes, head.cavity(points) + 2.0)

    def paint(self, head: Head, points: np.ndarray, distance: np.ndarray, signal: np.ndarray, width_mm: float) -> None:
        """Paint the swelling, the ring, then the core."""
        mottle = head.texture.at(points, 1.3, 110.0)
        swelling = np.maximum(distance - 7.0, head.cavity(points) + 3.0)
        over(signal, 0.8 * cover(swelling, 8.0), 0.36)
        over(signal, cover(distance, width_mm), np.clip(0.86 + 0.1 * mottle, 0.6, 1.1))
        core = distance + self.rim_mm * np.clip(1.0 + 0.35 * mottle, 0.5, 1.8)
        over(signal, cover(core, width_mm), 0.24 + 0.05 * mottle)


@dataclass(frozen=True)
class Pituitary:
    """Small, round, moderately bright, in the midline on the skull base."""

    centre_mm: tuple
    radii_mm: tuple

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Pituitary:
        """Draw one that has grown up out of the sella."""
        size = rng.uniform(12.0, 16.0)
        centre = (rng.uniform(-2.0, 2.0), 9.0 + rng.uniform(-2.0, 2.0), -33.0 + size)
        return cls(centre, tuple(size * rng.uniform(0.94, 1.06, 3)))

    def distance(self, head: Head, points: np.ndarray) -> np.ndarray:
        """Signed distance to the whole tumour; `points` is `(3, ...)`."""
        return ellipsoid(points, self.centre_mm, self.radii_mm)

    def paint(self, head: Head, points: np.ndarray, distance: np.ndarray, signal: np.ndarray, width_mm: float) -> None:
        """Paint the tumour, hardly mottled, in a thin rim of fluid."""
        over(signal, cover(distance - 1.5, width_mm), 0.2)
        over(signal, cover(distance, width_mm), 0.76 + 0.03 * head.texture.at(points, 1.0, 70.0))


# Names as in the figshare set's three classes.
TUMOUR_TYPES: dict[str, type[Meningioma | Glioma | Pituitary]] = {
    "meningioma": Meningioma,
    "glioma": Glioma,
    "pituitary": Pituitary,
}
