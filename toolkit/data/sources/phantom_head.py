"""A schematic head as a continuous function of space, to be cut in any plane.

Every structure is a signed distance in mm (negative inside) that is painted
over the ones before it, from the skin inward. The head frame is in mm with the
middle of the brain at the origin and axes right, anterior, superior. Brightness
is that of a T1 picture after contrast, with subcutaneous fat near 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

AIR, BONE, CSF, GREY, WHITE, MUSCLE, FAT, BLOOD = 0.02, 0.07, 0.14, 0.40, 0.56, 0.34, 1.0, 0.97

CAVITY_RADII_MM = (66.0, 84.0, 64.0)
SKULL_MM = 6.0
TEXTURE_VOXELS, TEXTURE_VOXEL_MM, TEXTURE_SIGMA = 64, 3.0, 1.15
# |field| / |gradient| of white noise smoothed by a Gaussian is sqrt(2) sigma: turns a field into mm.
TEXTURE_MM = float(np.sqrt(2.0)) * TEXTURE_SIGMA * TEXTURE_VOXEL_MM

# Contrast-filled vessels: (x, y, z) of both ends and the radius, in mm; x is mirrored.
VESSELS_MM = (
    ((14, 12, -33), (14, 2, -24), 3.2),  # carotid siphon
    ((19, -4, -62), (15, 6, -33), 2.8),
    ((14, 8, -22), (42, 12, -15), 2.0),  # middle cerebral
    ((3, 14, -18), (2, 42, 2), 1.8),  # anterior cerebral
    ((2, 42, 2), (2, 30, 26), 1.6),
    ((0, -5, -20), (0, -9, -54), 2.3),  # basilar
    ((0, -28, 2), (0, -70, -26), 2.6),  # straight sinus
    ((32, -8, -60), (36, 2, -140), 5.0),  # jugular
)


def ellipsoid(points: np.ndarray, centre: tuple, radii: tuple) -> np.ndarray:
    """Signed distance in mm to an ellipsoid, first-order (I. Quilez, "Ellipsoid SDF").

    Args:
        points: `(3, ...)` in mm.
        centre: three coordinates in mm.
        radii: three semi-axes in mm.
    """
    scaled = [(p - c) / r for p, c, r in zip(points, centre, radii, strict=True)]
    norm = np.sqrt(sum(s * s for s in scaled))
    slope = np.sqrt(sum((s / r) ** 2 for s, r in zip(scaled, radii, strict=True)))
    return norm * (norm - 1.0) / np.maximum(slope, 1e-6)


def tube(points: np.ndarray, start: tuple, end: tuple, radius: float) -> np.ndarray:
    """Signed distance in mm to a straight tube with round ends; `points` is `(3, ...)` in mm."""
    axis = [float(e - s) for s, e in zip(start, end, strict=True)]
    offset = [p - float(s) for p, s in zip(points, start, strict=True)]
    along = sum(o * a for o, a in zip(offset, axis, strict=True)) / sum(a * a for a in axis)
    along = np.clip(along, 0.0, 1.0)
    return np.sqrt(sum((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True))) - radius


def cover(distance: np.ndarray, width_mm: float) -> np.ndarray:
    """Part of a pixel of `width_mm` that lies inside: 1 well within, 0 well without, linear between."""
    return np.clip(0.5 - distance / width_mm, 0.0, 1.0)


def over(signal: np.ndarray, part: np.ndarray, value: np.ndarray | float) -> None:
    """Paint `value` over `signal` in place, where `part` in [0, 1] says how much of each pixel."""
    signal += part * (value - signal)


def _joined(first: np.ndarray, second: np.ndarray, blend_mm: float) -> np.ndarray:
    """Smooth union of two signed distances."""
    mix = np.clip(0.5 + 0.5 * (second - first) / blend_mm, 0.0, 1.0)
    return second + (first - second) * mix - blend_mm * mix * (1.0 - mix)


def _beyond(value: np.ndarray, limit: float = 0.0) -> np.ndarray:
    return np.maximum(value - limit, 0.0)


@dataclass(frozen=True)
class Texture:
    """Smooth random field of unit deviation that repeats every 192 mm.

    Args:
        volume: `(64, 64, 64)` float32.
    """

    volume: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Texture:
        """Draw a field."""
        white = rng.standard_normal((TEXTURE_VOXELS,) * 3, dtype=np.float32)
        smooth = gaussian_filter(white, TEXTURE_SIGMA, mode="wrap")
        return cls(smooth / smooth.std())

    def at(self, points: np.ndarray, finer: float = 1.0, shift_mm: float = 0.0) -> np.ndarray:
        """Field at `points` `(3, ...)` in mm, with detail `finer` times as small."""
        voxels = points * np.float32(finer / TEXTURE_VOXEL_MM) + np.float32(shift_mm / TEXTURE_VOXEL_MM)
        return map_coordinates(self.volume, voxels, order=1, mode="grid-wrap")


@dataclass(frozen=True)
class Head:
    """One patient's head: pose in the scanner and build.

    Args:
        rotation: `(3, 3)`, head axes to world axes.
        centre_mm: `(3,)` middle of the brain in world mm (right, anterior, superior).
        scale: `(3,)` size of this head relative to the usual one.
        bend: `(3,)` phases of the slow bend that makes left and right differ.
        ventricle_mm: half width of the lateral ventricles.
        gap_mm: width of the fluid between brain and skull.
        scalp_mm: depth to which subcutaneous fat reaches.
        texture: folds of the cortex and mottling of tissues.
    """

    rotation: np.ndarray
    centre_mm: np.ndarray
    scale: np.ndarray
    bend: np.ndarray
    ventricle_mm: float
    gap_mm: float
    scalp_mm: float
    texture: Texture

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Head:
        """Draw a head."""
        a, b, c = rng.normal(0.0, 0.08, 3).clip(-0.16, 0.16)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        roll = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        nod = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
        return cls(
            rotation=turn @ roll @ nod,
            centre_mm=rng.uniform(-5.0, 5.0, 3),
            scale=rng.uniform(0.94, 1.06) * rng.uniform(0.97, 1.03, 3),
            bend=rng.uniform(0.0, 2 * np.pi, 3),
            ventricle_mm=rng.uniform(4.5, 9.0),
            gap_mm=rng.uniform(1.5, 4.0),
            scalp_mm=rng.uniform(6.5, 9.0),
            texture=Texture.draw(rng),
        )

    def to_head(self, world: np.ndarray) -> np.ndarray:
        """World mm `(3, ...)` to the head frame, float32."""
        offset = world - self.centre_mm.reshape(3, *[1] * (world.ndim - 1))
        straight = np.einsum("ij,i...->j...", self.rotation, offset)
        x, y, z = (straight.T / self.scale).T
        return np.stack(
            [
                x + 2.5 * np.sin(y / 45 + self.bend[0]) + 1.5 * np.sin(z / 30 + self.bend[1]),
                y + 2.0 * np.sin(x / 35 + self.bend[2]),
                z,
            ]
        ).astype(np.float32)

    def to_world(self, point_mm: np.ndarray) -> np.ndarray:
        """Head-frame point `(3,)` to world mm, without the slow bend (some 4 mm at most)."""
        return self.rotation @ (np.asarray(point_mm) * self.scale) + self.centre_mm

    def cavity(self, points: np.ndarray) -> np.ndarray:
        """Signed distance in mm to the inside of the skull; `points` `(3, ...)` in the head frame."""
        x, y, z = points
        posterior_fossa = 34.0 / (1.0 + np.exp((y + 14.0) / 5.0))
        middle_fossa = 15.0 * np.exp(-(((np.abs(x) - 36.0) / 16.0) ** 2) - ((y - 8.0) / 20.0) ** 2)
        floor = -24.0 - posterior_fossa - middle_fossa
        vault = ellipsoid(points, (0, 0, 0), CAVITY_RADII_MM)
        return -_joined(-vault, z - floor, 5.0)

    def paint(self, points: np.ndarray, width_mm: float) -> np.ndarray:
        """Brightness of the healthy head.

        Args:
            points: `(3, ...)` in the head frame, mm.
            width_mm: size of a pixel, over which edges are averaged.

        Returns:
            `(...)` float32, about 0 (air) to 1 (fat).
        """
        signal = np.full(points.shape[1:], AIR, np.float32)
        cavity, mottle = self.cavity(points), self.texture.at(points, 0.8, 40.0)
        self._paint_soft_parts(signal, points, mottle, width_mm)
        self._paint_bone_and_air(signal, points, cavity, mottle, width_mm)
        self._paint_brain(signal, points, cavity, mottle, width_mm)
        self._paint_deep_parts(signal, points, cavity, width_mm)
        self._paint_blood(signal, points, cavity, width_mm)
        return signal

    def _paint_soft_parts(self, signal: np.ndarray, points: np.ndarray, mottle: np.ndarray, width_mm: float) -> None:
        skin = ellipsoid(points, (0, 0, 0), tuple(r + 14.0 for r in CAVITY_RADII_MM))
        skin = _joined(skin, ellipsoid(points, (0, 44, -64), (64, 52, 66)), 16.0)
        skin = _joined(skin, ellipsoid(points, (0, 96, -52), (12, 17, 19)), 8.0)
        neck = np.hypot(points[0] / 60.0, (points[1] + 16.0) / 62.0) * 60.0 - 60.0
        skin = _joined(skin, np.maximum(neck, points[2] + 30.0), 14.0)
        over(signal, cover(skin, width_mm), 0.5)
        over(signal, cover(skin + 1.5, width_mm), FAT + 0.06 * mottle)
        muscle = cover(skin + self.scalp_mm + mottle, width_mm)
        septa = np.clip(np.abs(mottle) - 1.2, 0.0, 0.5)
        over(signal, muscle, MUSCLE + 0.03 * mottle + septa)

    def _paint_bone_and_air(
        self, signal: np.ndarray, points: np.ndarray, cavity: np.ndarray, mottle: np.ndarray, width_mm: float
    ) -> None:
        mirrored = np.stack([np.abs(points[0]), points[1], points[2]])
        over(signal, cover(ellipsoid(mirrored, (31, 68, -38), (19, 24, 18)), width_mm), 0.85)
        over(signal, cover(ellipsoid(mirrored, (31, 76, -38), (12, 12, 12)), width_mm), 0.16)
        over(signal, cover(cavity - SKULL_MM, width_mm), BONE)
        marrow = np.abs(cavity - 0.5 * SKULL_MM) - 0.8 - 0.6 * mottle
        over(signal, cover(marrow, width_mm), 0.3)
        over(signal, cover(tube(points, (0, 2, -38), (0, -8, -56), 7.0), width_mm), 0.62)  # clivus
        over(signal, cover(ellipsoid(mirrored, (50, -22, -42), (11, 15, 11)), width_mm), BONE)  # mastoid
        over(signal, cover(ellipsoid(mirrored, (7, 58, -52), (5, 30, 17)), width_mm), AIR)  # nose
        over(signal, cover(ellipsoid(mirrored, (30, 58, -68), (12, 15, 12)), width_mm), AIR)  # antrum
        over(signal, cover(ellipsoid(points, (0, 20, -41), (12, 12, 7)), width_mm), AIR)  # sphenoid sinus
        over(signal, cover(tube(points, (0, 24, -66), (0, 10, -150), 6.0), width_mm), AIR)  # throat

    def _paint_brain(
        self, signal: np.ndarray, points: np.ndarray, cavity: np.ndarray, mottle: np.ndarray, width_mm: float
    ) -> None:
        x, y, z = points
        over(signal, cover(cavity, width_mm), CSF)
        tentorium = -30.0 + 24.0 * np.exp(-((x / 38.0) ** 2) - ((y + 30.0) / 30.0) ** 2)
        below = np.where(y < -14.0, z - tentorium, 50.0)
        depth = -cavity - self.gap_mm
        fissure = np.abs(x) - 1.2 + _beyond(18.0 - 0.004 * y * y - z)
        sylvian = np.abs(z + 8.0 + 0.3 * y) - 1.0 + _beyond(32.0 - np.abs(x)) + _beyond(np.abs(y - 5.0), 28.0)
        sulci = TEXTURE_MM * np.abs(self.texture.at(points)) - 0.7 + _beyond(depth, 14.0)
        cerebrum = np.minimum.reduce([depth, fissure, sylvian, sulci, np.maximum(below - 1.5, -30.0)])
        over(signal, cover(-cerebrum, width_mm), GREY)
        over(signal, cover(3.6 - cerebrum, width_mm), WHITE + 0.012 * mottle)
        folia = 0.5 * TEXTURE_MM * np.abs(self.texture.at(points, 2.0, 20.0)) - 0.4 + _beyond(depth, 18.0)
        cerebellum = np.minimum.reduce([depth - 1.0, folia, -below - 1.5, _beyond(-16.0 - y)])
        over(signal, cover(-cerebellum, width_mm), GREY)
        over(signal, cover(2.2 - cerebellum, width_mm), 0.5 * (GREY + WHITE))

    def _paint_deep_parts(self, signal: np.ndarray, points: np.ndarray, cavity: np.ndarray, width_mm: float) -> None:
        x, y, z = points
        mirrored = np.stack([np.abs(x), y, z])
        for centre, radii in (
            ((12, -12, 0), (8, 14, 9)),
            ((23, 6, 0), (6, 18, 10)),
            ((12, 20, 8), (5, 9, 7)),
        ):
            over(signal, cover(ellipsoid(mirrored, centre, radii), width_mm), GREY + 0.03)
        cistern = tube(points, (0, -10, -12), (0, -24, -54), 15.0)
        over(signal, cover(np.maximum(cistern, cavity), width_mm), CSF)
        over(signal, cover(tube(points, (0, -24, -50), (0, -30, -150), 9.0), width_mm), CSF)
        stem = _joined(
            tube(points, (0, -12, -6), (0, -22, -46), 11.5),
            tube(points, (0, -23, -46), (0, -30, -150), 6.0),
            6.0,
        )
        over(signal, cover(stem, width_mm), WHITE - 0.02)
        over(signal, cover(ellipsoid(points, (0, 8, -20), (12, 9, 7)), width_mm), CSF)  # suprasellar cistern
        bowed = np.stack([mirrored[0] - 5.0 - 0.006 * (y - 5.0) ** 2, y, z - 13.0 + 0.007 * y * y])
        lateral = ellipsoid(bowed, (0, -4, 0), (self.ventricle_mm, 42, 1.3 * self.ventricle_mm))
        over(signal, cover(lateral, width_mm), CSF)
        over(signal, cover(ellipsoid(points, (0, -4, -4), (2.2, 13, 10)), width_mm), CSF)  # third ventricle
        over(signal, cover(ellipsoid(points, (0, -38, -32), (6, 5, 9)), width_mm), CSF)  # fourth ventricle
        over(signal, cover(tube(mirrored, (17, -32, 6), (13, -20, 10), 2.2), width_mm), 0.85)  # choroid plexus

    def _paint_blood(self, signal: np.ndarray, points: np.ndarray, cavity: np.ndarray, width_mm: float) -> None:
        x, y, z = points
        mirrored = np.stack([np.abs(x), y, z])
        falx = np.maximum.reduce([np.abs(x) - 0.7, 24.0 - 0.004 * y * y - z, cavity])
        over(signal, cover(falx, width_mm), 0.7)
        sagittal = np.hypot(x, cavity + 2.5) - 4.6 + _beyond(0.19 * y - 14.0 - z)
        transverse = np.hypot(z + 30.0, cavity + 2.5) - 4.2 + _beyond(y, -12.0)
        cortical = TEXTURE_MM * np.hypot(self.texture.at(points), self.texture.at(points, 0.7, 90.0)) - 1.2
        cortical = np.maximum(cortical + 0.5 * _beyond(-cavity, 16.0), cavity)
        for vessel in (sagittal, transverse, cortical):
            over(signal, cover(vessel, width_mm), BLOOD)
        for start, end, radius in VESSELS_MM:
            over(signal, cover(tube(mirrored, start, end, radius), width_mm), BLOOD)
