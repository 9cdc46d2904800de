"""Noisy, drifting copies of NIfTI volumes: is there anything for an enhancer to see?

    python benchmarks/damaged_volumes.py FOLDER --out DIR [--noise 0.1] [--drift 0.2]

Every volume under FOLDER is copied to the same place under DIR, with Rician noise of that sigma and a factor for each
slice, drawn from [1 - drift, 1 + drift]; both relative to its own range (see `toolkit.data.intensity`). Masks, files of
whole numbers from 0 to 9, are copied as they are. Seeds follow from names, so that a second run gives the same files.
"""

from __future__ import annotations

import argparse
import shutil
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from toolkit.data.geometry import to_slices
from toolkit.data.intensity import intensity_range
from toolkit.progress import track
from toolkit.transforms.degradation import rician

MOST_LABELS = 10


def damaged(image: nib.Nifti1Image, noise: float, drift: float, case: str, file: str) -> nib.Nifti1Image:
    """A copy of a volume with its case's drift from slice to slice, then its own noise, float32 in its own units."""
    cut = to_slices(np.asarray(image.dataobj, np.float32), image.affine)
    low, high = (float(value) for value in intensity_range(cut.slices[..., None])[0])
    # All modalities of a case drift alike, as they do in pre-training.
    factors = 1 + drift * generator(case).uniform(-1, 1, len(cut.slices)).astype(np.float32)
    noisy = rician(generator(file), (cut.slices - low) / (high - low) * factors[:, None, None], noise)
    return nib.Nifti1Image(cut.restore((noisy * (high - low) + low).astype(np.float32)), image.affine)


def generator(name: str) -> np.random.Generator:
    """Random numbers that follow from a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def is_mask(volume: np.ndarray) -> bool:
    """Whether a volume holds labels, not intensities."""
    values = np.unique(volume)
    return len(values) <= MOST_LABELS and bool(np.isin(values, np.arange(MOST_LABELS)).all())


def main() -> None:
    """Copy every volume."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--drift", type=float, default=0.2)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("*.nii.gz"))
    for file in track(files, "Damaging volumes", len(files)):
        name = file.relative_to(arguments.folder)
        target = arguments.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        image = nib.load(file)
        if is_mask(np.asarray(image.dataobj)):
            shutil.copyfile(file, target)
            continue
        nib.save(damaged(image, arguments.noise, arguments.drift, str(name.parent), str(name)), target)


if __name__ == "__main__":
    main()
